#include "ops/tf/op_inputs.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/platform/threadpool.h"

namespace nann {
namespace {

// Items that are worth handing to another thread.
constexpr int64_t kShardItems = 512;

}  // namespace

absl::Status CheckShape(const char* name, const tensorflow::Tensor& tensor,
                        std::initializer_list<int64_t> wanted) {
  bool fits = tensor.dims() == static_cast<int>(wanted.size());
  int dimension = 0;
  for (const int64_t size : wanted) {
    fits = fits && (size < 0 || size == tensor.dim_size(dimension));
    ++dimension;
  }
  if (fits) return absl::OkStatus();
  std::string text;
  for (const int64_t size : wanted) {
    absl::StrAppend(&text, text.empty() ? "" : ", ",
                    size < 0 ? "any" : absl::StrCat(size));
  }
  return absl::InvalidArgumentError(absl::StrCat(name, " has shape ",
                                                 tensor.shape().DebugString(),
                                                 ", wanted [", text, "]"));
}

StateType StateTypeOf(tensorflow::DataType dtype) {
  if (dtype == tensorflow::DT_HALF) return StateType::kFloat16;
  if (dtype == tensorflow::DT_BFLOAT16) return StateType::kBfloat16;
  return StateType::kFloat32;
}

void ShareItems(tensorflow::OpKernelContext* context, int64_t num_items,
                const std::function<void(int64_t, int64_t)>& score) {
  const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
  if (num_items < 2 * kShardItems || workers.num_threads < 2) {
    score(0, num_items);
    return;
  }
  workers.workers->ParallelFor(
      num_items,
      tensorflow::thread::ThreadPool::SchedulingParams::Fixed(kShardItems),
      score);
}

}  // namespace nann
