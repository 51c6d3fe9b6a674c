#include "ops/tf/gpu/device_model.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "ops/cuda/device_memory.h"
#include "tensorflow/core/framework/device_base.h"
#include "xla/stream_executor/stream.h"

namespace nann {
namespace {

using tensorflow::OpKernelContext;
using tensorflow::Tensor;

// All that the model is copied from.
absl::Status ReadOriginals(OpKernelContext* context, const SearchCall& call,
                           std::vector<Tensor>* originals) {
  TF_RETURN_IF_ERROR(ReadGraphTensors(context, originals));
  originals->insert(originals->end(), call.item_state.begin(),
                    call.item_state.end());
  return absl::OkStatus();
}

int64_t MaxDegree(const Level& level) {
  int64_t most = 0;
  for (int64_t row = 0; row + 1 < level.row_splits.size(); ++row) {
    most = std::max(most, level.row_splits[row + 1] - level.row_splits[row]);
  }
  return most;
}

}  // namespace

void* StreamOf(OpKernelContext* context) {
  tensorflow::DeviceContext* const device = context->op_device_context();
  if (device == nullptr || device->stream() == nullptr) return nullptr;
  return device->stream()->platform_specific_handle().stream;
}

absl::Status Allocate(OpKernelContext* context, int64_t size_bytes,
                      Tensor* memory) {
  return context->allocate_temp(tensorflow::DT_UINT8,
                                {std::max<int64_t>(size_bytes, 1)}, memory);
}

absl::Status FromCuda(int status) {
  if (status == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("CUDA: ", NannCudaError()));
}

absl::Status CopyToDevice(OpKernelContext* context, const Tensor& host,
                          Tensor* device) {
  const int64_t size_bytes = static_cast<int64_t>(host.TotalBytes());
  TF_RETURN_IF_ERROR(Allocate(context, size_bytes, device));
  return FromCuda(NannCudaToDevice(device->data(), host.data(), size_bytes,
                                   StreamOf(context)));
}

bool DeviceModel::IsOf(OpKernelContext* context, const SearchCall& call) const {
  std::vector<Tensor> originals;
  return ReadOriginals(context, call, &originals).ok() &&
         AreSame(originals, originals_);
}

absl::Status DeviceModel::Copy(OpKernelContext* context,
                               const SearchCall& call) {
  std::vector<Tensor> originals;
  TF_RETURN_IF_ERROR(ReadOriginals(context, call, &originals));
  const size_t num_levels = call.graph.levels.size();
  if (num_levels > NANN_CUDA_MAX_LEVELS) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the graph has ", num_levels, " levels, wanted at most ",
        NANN_CUDA_MAX_LEVELS, " on a GPU; run this op on the CPU"));
  }
  // First values and row splits of each level, then the entry points.
  of_graph_.resize(2 * num_levels + 1);
  item_state_.resize(call.item_state.size());
  for (size_t i = 0; i < originals.size(); ++i) {
    Tensor* const copy = i < of_graph_.size()
                             ? &of_graph_[i]
                             : &item_state_[i - of_graph_.size()];
    TF_RETURN_IF_ERROR(CopyToDevice(context, originals[i], copy));
  }
  graph_.num_rows = call.graph.num_rows();
  graph_.num_levels = static_cast<int64_t>(num_levels);
  for (size_t i = 0; i < num_levels; ++i) {
    graph_.levels[i] = {
        static_cast<const int32_t*>(of_graph_[i].data()),
        static_cast<const int64_t*>(of_graph_[num_levels + i].data()),
        MaxDegree(call.graph.levels[i])};
  }
  graph_.entry_points = static_cast<const int32_t*>(of_graph_.back().data());
  graph_.num_entry_points = call.graph.entry_points.size();
  originals_ = std::move(originals);
  return absl::OkStatus();
}

}  // namespace nann
