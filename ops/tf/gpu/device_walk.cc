#include "ops/tf/gpu/device_walk.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ops/cuda/device_memory.h"
#include "ops/tf/run_options.h"

namespace nann {
namespace {

using tensorflow::AsyncOpKernel;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// Few different shapes: a scorer that is compiled for each is compiled a few
// times in all.
int64_t PaddedRows(int64_t number) {
  int64_t padded = 64;
  while (padded < number) padded *= 2;
  return padded;
}

NannCudaPolicy ToCuda(const SearchCall& call) {
  NannCudaPolicy policy = {};
  policy.is_paper = call.is_paper;
  policy.ef = call.best_first.ef;
  policy.width = call.best_first.width;
  policy.max_steps = call.best_first.max_steps;
  policy.max_evaluations = call.best_first.max_evaluations;
  policy.widths = call.paper.widths.data();
  policy.num_widths = static_cast<int64_t>(call.paper.widths.size());
  policy.hops = call.paper.hops.data();
  policy.num_hops = static_cast<int64_t>(call.paper.hops.size());
  return policy;
}

// A function on a GPU takes int32 from the memory of the host.
absl::Status CheckTypes(const SearchCall& call) {
  for (const auto* list :
       {&call.user_state, &call.item_state, &call.captured}) {
    for (const Tensor& tensor : *list) {
      if (tensor.dtype() != tensorflow::DT_INT32) continue;
      return absl::InvalidArgumentError(
          "an argument of the scorer is int32, which a function on a GPU takes "
          "from the memory of the host; cast it to int64");
    }
  }
  return absl::OkStatus();
}

}  // namespace

DeviceWalk::DeviceWalk(OpKernelContext* context, const ScorerFunction& scorer,
                       SearchCall call,
                       std::shared_ptr<const DeviceModel> model,
                       AsyncOpKernel::DoneCallback done)
    : context_(context),
      scorer_(scorer),
      call_(std::move(call)),
      model_(std::move(model)),
      options_(RunOptions(context)),
      done_(std::move(done)),
      stream_(StreamOf(context)),
      limit_(CurrentCallLimit()) {}

DeviceWalk::~DeviceWalk() { NannCudaSearchDelete(search_); }

absl::Status DeviceWalk::Prepare() {
  TF_RETURN_IF_ERROR(CheckTypes(call_));
  TF_RETURN_IF_ERROR(CopyQueries());
  frame_.arguments = call_.user_state;
  frame_.arguments.resize(call_.user_state.size() + call_.item_state.size());
  frame_.arguments.insert(frame_.arguments.end(), call_.captured.begin(),
                          call_.captured.end());
  return Start(false);
}

absl::Status DeviceWalk::CopyQueries() {
  TF_RETURN_IF_ERROR(CopyToDevice(context_, call_.expand, &expand_));
  TF_RETURN_IF_ERROR(CopyToDevice(context_, call_.only_score, &only_score_));
  TF_RETURN_IF_ERROR(CopyToDevice(context_, call_.denied, &denied_));
  const bool has_allowed = call_.allowed.dim_size(0) > 0;
  if (has_allowed) {
    TF_RETURN_IF_ERROR(CopyToDevice(context_, call_.allowed, &allowed_));
  }
  const auto rows = [](const Tensor& tensor) {
    return static_cast<const int32_t*>(tensor.data());
  };
  queries_ = {
      call_.num_queries,
      call_.k,
      rows(expand_),
      call_.expand.dim_size(1),
      rows(only_score_),
      call_.only_score.dim_size(1),
      has_allowed ? static_cast<const uint8_t*>(allowed_.data()) : nullptr,
      rows(denied_),
      call_.denied.dim_size(1)};
  return absl::OkStatus();
}

absl::Status DeviceWalk::Start(bool has_room_for_ties) {
  NannCudaSearchDelete(search_);
  NannCudaOptions options = {};
  options.has_room_for_ties = has_room_for_ties;
  const NannCudaPolicy policy = ToCuda(call_);
  search_ = NannCudaSearchNew(&model_->graph(), &policy, &queries_, &options);
  if (search_ == nullptr) return absl::InvalidArgumentError(NannCudaError());
  TF_RETURN_IF_ERROR(
      Allocate(context_, NannCudaSearchBytes(search_), &memory_));
  NannCudaSearchSetMemory(search_, memory_.data());
  return FromCuda(NannCudaSearchStart(search_, stream_));
}

void DeviceWalk::Run() {
  while (status_.ok()) {
    bool is_over = false;
    status_ = PrepareStep(&is_over);
    if (!status_.ok() || is_over) break;
    if (padded_ > 0 && !RunScorer()) return;
    if (status_.ok()) status_ = TakeScores();
  }
  if (status_.ok()) status_ = Finish();
  context_->SetStatus(status_);
  // Releases what is held before the context goes.
  AsyncOpKernel::DoneCallback done = std::move(done_);
  done();
}

absl::Status DeviceWalk::PrepareStep(bool* is_over) {
  TF_RETURN_IF_ERROR(CheckGoesOn(context_, limit_));
  NannCudaProgress progress;
  TF_RETURN_IF_ERROR(FromCuda(NannCudaSearchRead(search_, &progress, stream_)));
  if (progress.num_no_room > 0) {
    // Rare: so many rows tie that a step is larger than its beams.
    TF_RETURN_IF_ERROR(Start(true));
    return PrepareStep(is_over);
  }
  *is_over = progress.num_active == 0;
  padded_ =
      progress.max_candidates == 0 ? 0 : PaddedRows(progress.max_candidates);
  return *is_over || padded_ == 0 ? absl::OkStatus() : GatherItems();
}

absl::Status DeviceWalk::GatherItems() {
  // The scores may be a view of what was gathered.
  frame_.scores = Tensor();
  for (size_t i = 0; i < call_.item_state.size(); ++i) {
    const Tensor& state = call_.item_state[i];
    TensorShape shape = state.shape();
    shape.set_dim(0, padded_);
    shape.InsertDim(0, call_.num_queries);
    Tensor gathered;
    TF_RETURN_IF_ERROR(
        context_->allocate_temp(state.dtype(), shape, &gathered));
    const int64_t row_bytes =
        static_cast<int64_t>(state.TotalBytes()) / state.dim_size(0);
    TF_RETURN_IF_ERROR(FromCuda(NannCudaGatherRows(
        search_, model_->item_state()[i].data(), row_bytes, padded_,
        const_cast<void*>(gathered.data()), stream_)));
    frame_.arguments[call_.user_state.size() + i] = std::move(gathered);
  }
  return absl::OkStatus();
}

bool DeviceWalk::RunScorer() {
  arrived_ = 0;
  const auto self = shared_from_this();
  scorer_.library->Run(options_, scorer_.handle, &frame_,
                       [self](const absl::Status& status) {
                         self->status_ = status;
                         if (self->arrived_.exchange(1) == 0) return;
                         if (status.ok()) self->status_ = self->TakeScores();
                         self->Run();
                       });
  return arrived_.exchange(1) == 1;
}

absl::Status DeviceWalk::TakeScores() {
  const float* scores = nullptr;
  if (padded_ > 0) {
    const Tensor& given = frame_.scores;
    if (!given.IsInitialized() ||
        given.NumElements() != call_.num_queries * padded_) {
      return absl::InvalidArgumentError(
          absl::StrCat("the scorer gave scores of shape ",
                       given.shape().DebugString(), " for ", padded_,
                       " rows of each of ", call_.num_queries, " queries"));
    }
    scores = static_cast<const float*>(given.data());
  }
  return FromCuda(NannCudaSearchAbsorb(search_, scores, padded_, stream_));
}

absl::Status DeviceWalk::Finish() {
  const TensorShape answers({call_.num_queries, call_.k});
  Tensor *rows, *scores, *num_scored;
  TF_RETURN_IF_ERROR(context_->allocate_output(0, answers, &rows));
  TF_RETURN_IF_ERROR(context_->allocate_output(1, answers, &scores));
  TF_RETURN_IF_ERROR(context_->allocate_output(
      2, {call_.num_queries, call_.num_steps}, &num_scored));
  // The device keeps no columns for steps that there cannot be.
  const int64_t num_steps = NannCudaSearchMaxSteps(search_);
  const int64_t num_counts = call_.num_queries * num_steps;
  Tensor found[4];
  const int64_t sizes[] = {answers.num_elements(), answers.num_elements(),
                           num_counts, 2 * call_.num_queries};
  for (int i = 0; i < 4; ++i) {
    TF_RETURN_IF_ERROR(Allocate(context_, 4 * sizes[i], &found[i]));
  }
  TF_RETURN_IF_ERROR(FromCuda(
      NannCudaSearchFinish(search_, static_cast<int32_t*>(found[0].data()),
                           static_cast<float*>(found[1].data()),
                           static_cast<int32_t*>(found[2].data()),
                           static_cast<int32_t*>(found[3].data()), stream_)));
  std::vector<int32_t> counts(num_counts), faults(2 * call_.num_queries);
  void* const to[] = {rows->data(), scores->data(), counts.data(),
                      faults.data()};
  for (int i = 0; i < 4; ++i) {
    TF_RETURN_IF_ERROR(FromCuda(
        NannCudaToHost(to[i], found[i].data(), 4 * sizes[i], stream_)));
  }
  for (int64_t i = 0; i < call_.num_queries; ++i) {
    if (faults[2 * i] == NANN_CUDA_NOT_A_NUMBER) {
      return absl::InvalidArgumentError(
          absl::StrCat("the scorer gave nan for row ", faults[2 * i + 1],
                       " of query ", i, ", wanted a number"));
    }
  }
  num_scored->flat<int32_t>().setZero();
  for (int64_t i = 0; i < call_.num_queries; ++i) {
    std::copy_n(counts.data() + i * num_steps, num_steps,
                num_scored->flat<int32_t>().data() + i * call_.num_steps);
  }
  return absl::OkStatus();
}

}  // namespace nann
