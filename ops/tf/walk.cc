#include "ops/tf/walk.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ops/tf/gather.h"
#include "tensorflow/core/framework/cancellation.h"
#include "tensorflow/core/framework/tensor_util.h"
#include "tensorflow/core/platform/cpu_info.h"

namespace nann {

using tensorflow::AsyncOpKernel;
using tensorflow::FunctionLibraryRuntime;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

Walk::Walk(OpKernelContext* context, const ScorerFunction& scorer,
           SearchCall call, ScratchPool<Scratch>* pool,
           AsyncOpKernel::DoneCallback done)
    : context_(context),
      scorer_(scorer),
      call_(std::move(call)),
      pool_(pool),
      done_(std::move(done)),
      allocator_(context->get_allocator({})) {}

absl::Status Walk::AllocateOutputs() {
  const tensorflow::TensorShape answers({call_.num_queries, call_.k});
  TF_RETURN_IF_ERROR(context_->allocate_output(0, answers, &rows_));
  TF_RETURN_IF_ERROR(context_->allocate_output(1, answers, &scores_));
  TF_RETURN_IF_ERROR(context_->allocate_output(
      2, {call_.num_queries, call_.num_steps}, &num_scored_));
  rows_->flat<int32_t>().setConstant(-1);
  scores_->flat<float>().setConstant(-std::numeric_limits<float>::infinity());
  num_scored_->flat<int32_t>().setZero();
  return absl::OkStatus();
}

void Walk::Run() {
  const int64_t num_workers = std::max<int64_t>(
      1,
      std::min<int64_t>(call_.num_queries, tensorflow::port::MaxParallelism()));
  active_workers_ = num_workers;
  const auto self = shared_from_this();
  for (int64_t i = 1; i < num_workers; ++i) {
    (*context_->runner())([self] { self->NextSearch(self->pool_->Take()); });
  }
  NextSearch(pool_->Take());
}

void Walk::NextSearch(Lease scratch) {
  while (true) {
    const int64_t number = next_query_++;
    if (number >= call_.num_queries || has_failed_) {
      // Nothing of the kernel may be touched after the call has ended.
      {
        const Lease finished = std::move(scratch);
      }
      Leave();
      return;
    }
    auto query = std::make_shared<OneSearch>(number, std::move(scratch));
    call_.Start(number, &query->scratch->search);
    SetUserState(query.get());
    if (!Advance(query)) return;
    scratch = std::move(query->scratch);
  }
}

void Walk::SetUserState(OneSearch* query) {
  std::vector<Tensor>& arguments = query->scratch->arguments;
  arguments.clear();
  for (const Tensor& tensor : call_.user_state) {
    if (call_.num_queries == 1) {
      arguments.push_back(tensor);
      continue;
    }
    Tensor slice = tensor.Slice(query->number, query->number + 1);
    // Kernels take their input to be aligned; a slice may begin anywhere.
    arguments.push_back(
        slice.IsAligned() ? slice : tensorflow::tensor::DeepCopy(slice));
  }
  arguments.resize(arguments.size() + call_.item_state.size());
  arguments.insert(arguments.end(), call_.captured.begin(),
                   call_.captured.end());
}

bool Walk::Advance(const std::shared_ptr<OneSearch>& query) {
  Scratch& scratch = *query->scratch;
  while (scratch.search.Next(&query->asked)) {
    if (IsCancelled()) {
      Fail(absl::CancelledError("the search was cancelled"));
      return true;
    }
    GatherItems(query.get());
    scratch.results.clear();
    if (scorer_.is_simple) {
      query->status = scorer_.library->RunSync(
          RunOptions(), scorer_.handle, scratch.arguments, &scratch.results);
    } else if (!RunInBackground(query)) {
      return false;
    }
    if (!Absorb(query.get())) return true;
  }
  WriteAnswers(*query);
  return true;
}

bool Walk::RunInBackground(const std::shared_ptr<OneSearch>& query) {
  query->arrived = 0;
  const auto self = shared_from_this();
  Scratch& scratch = *query->scratch;
  scorer_.library->Run(RunOptions(), scorer_.handle, scratch.arguments,
                       &scratch.results,
                       [self, query](const absl::Status& status) {
                         query->status = status;
                         if (query->arrived.exchange(1) == 0) return;
                         const bool goes_on = self->Absorb(query.get());
                         if (goes_on && !self->Advance(query)) return;
                         self->NextSearch(std::move(query->scratch));
                       });
  return query->arrived.exchange(1) == 1;
}

FunctionLibraryRuntime::Options Walk::RunOptions() {
  FunctionLibraryRuntime::Options options(context_->step_id());
  options.rendezvous = context_->rendezvous();
  options.cancellation_manager = context_->cancellation_manager();
  options.collective_executor = context_->collective_executor();
  options.step_container = context_->step_container();
  options.stats_collector = context_->stats_collector();
  options.runner = context_->runner();
  options.run_all_kernels_inline = scorer_.is_simple;
  return options;
}

bool Walk::IsCancelled() const {
  auto* const manager = context_->cancellation_manager();
  return manager != nullptr && manager->IsCancelled();
}

void Walk::GatherItems(OneSearch* query) {
  Scratch& scratch = *query->scratch;
  scratch.gathered.resize(call_.item_state.size());
  for (size_t i = 0; i < call_.item_state.size(); ++i) {
    Gather(call_.item_state[i], query->asked, allocator_, &scratch.gathered[i],
           &scratch.arguments[call_.user_state.size() + i]);
  }
}

bool Walk::Absorb(OneSearch* query) {
  const absl::Status status = CheckScores(*query);
  if (!status.ok()) {
    Fail(status);
    return false;
  }
  Scratch& scratch = *query->scratch;
  const float* const scores = scratch.results[0].flat<float>().data();
  const int64_t fault = scratch.search.Absorb(scores);
  if (fault >= 0) {
    Fail(absl::InvalidArgumentError(absl::StrCat(
        "the scorer gave ", scores[fault], " for row ", query->asked[fault],
        " of query ", query->number, ", wanted a number")));
    return false;
  }
  return true;
}

absl::Status Walk::CheckScores(const OneSearch& query) const {
  TF_RETURN_IF_ERROR(query.status);
  const std::vector<Tensor>& results = query.scratch->results;
  if (results.size() != 1 || results[0].dtype() != tensorflow::DT_FLOAT) {
    return absl::InvalidArgumentError(
        "the scorer wants to return one float32 tensor");
  }
  if (results[0].NumElements() != query.asked.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the scorer gave scores of shape ", results[0].shape().DebugString(),
        " for ", query.asked.size(), " rows"));
  }
  return absl::OkStatus();
}

void Walk::WriteAnswers(const OneSearch& query) {
  const BeamSearch& search = query.scratch->search;
  search.Finish(call_.k, rows_->flat<int32_t>().data() + query.number * call_.k,
                scores_->flat<float>().data() + query.number * call_.k);
  const Span<const int32_t> counts = search.num_scored();
  std::copy(
      counts.begin(), counts.end(),
      num_scored_->flat<int32_t>().data() + query.number * call_.num_steps);
}

void Walk::Fail(const absl::Status& status) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!has_failed_) status_ = status;
  has_failed_ = true;
}

void Walk::Leave() {
  if (--active_workers_ > 0) return;
  context_->SetStatus(status_);
  // Releases what is held before the context goes.
  AsyncOpKernel::DoneCallback done = std::move(done_);
  done();
}

}  // namespace nann
