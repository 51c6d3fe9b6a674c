#include "ops/tf/walk.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ops/tf/run_options.h"
#include "tensorflow/core/framework/tensor_util.h"
#include "tensorflow/core/platform/cpu_info.h"

namespace nann {
namespace {

using tensorflow::AsyncOpKernel;
using tensorflow::FunctionLibraryRuntime;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

FunctionLibraryRuntime::Options OptionsOf(OpKernelContext* context,
                                          bool is_simple) {
  FunctionLibraryRuntime::Options options = RunOptions(context);
  options.run_all_kernels_inline = is_simple;
  return options;
}

}  // namespace

Walk::Walk(OpKernelContext* context, const ScorerFunction& scorer,
           SearchCall call, ScratchPool<Scratch>* pool,
           AsyncOpKernel::DoneCallback done)
    : context_(context),
      scorer_(scorer),
      call_(std::move(call)),
      options_(OptionsOf(context, scorer.is_simple)),
      pool_(pool),
      done_(std::move(done)),
      allocator_(context->get_allocator({})),
      limit_(CurrentCallLimit()) {}

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
    SetArguments(query.get());
    if (!Advance(query)) return;
    scratch = std::move(query->scratch);
  }
}

void Walk::SetArguments(OneSearch* query) {
  Scratch& scratch = *query->scratch;
  std::vector<Tensor>& arguments = scratch.frame.arguments;
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
  scratch.gatherers.resize(call_.item_state.size());
  for (size_t i = 0; i < call_.item_state.size(); ++i) {
    scratch.gatherers[i].SetState(call_.item_state[i]);
  }
}

bool Walk::Advance(const std::shared_ptr<OneSearch>& query) {
  Scratch& scratch = *query->scratch;
  while (query->status.ok() && scratch.search.Next(&query->asked)) {
    query->status = CheckGoesOn();
    if (query->status.ok()) query->status = GatherItems(query.get());
    if (!query->status.ok()) break;
    if (scorer_.is_simple) {
      query->status =
          scorer_.library->RunSync(options_, scorer_.handle, &scratch.frame);
    } else if (!RunInBackground(query)) {
      return false;
    }
    if (query->status.ok()) query->status = Absorb(query.get());
  }
  if (query->status.ok()) {
    WriteAnswers(*query);
  } else {
    Fail(query->status);
  }
  // What is kept for the next call keeps nothing of this one alive.
  scratch.frame.arguments.clear();
  scratch.frame.scores = Tensor();
  return true;
}

bool Walk::RunInBackground(const std::shared_ptr<OneSearch>& query) {
  query->arrived = 0;
  const auto self = shared_from_this();
  scorer_.library->Run(options_, scorer_.handle, &query->scratch->frame,
                       [self, query](const absl::Status& status) {
                         query->status = status;
                         if (query->arrived.exchange(1) == 0) return;
                         if (status.ok())
                           query->status = self->Absorb(query.get());
                         if (!self->Advance(query)) return;
                         self->NextSearch(std::move(query->scratch));
                       });
  return query->arrived.exchange(1) == 1;
}

absl::Status Walk::CheckGoesOn() const {
  TF_RETURN_IF_ERROR(nann::CheckGoesOn(context_, limit_));
  // Whatever it is, it is not the failure that is told.
  if (has_failed_) return absl::AbortedError("another query has failed");
  return absl::OkStatus();
}

absl::Status Walk::GatherItems(OneSearch* query) {
  Scratch& scratch = *query->scratch;
  // It may be a view of what was gathered.
  scratch.frame.scores = Tensor();
  Tensor* const arguments =
      scratch.frame.arguments.data() + call_.user_state.size();
  for (size_t i = 0; i < scratch.gatherers.size(); ++i) {
    TF_RETURN_IF_ERROR(
        scratch.gatherers[i].Gather(query->asked, allocator_, &arguments[i]));
  }
  return absl::OkStatus();
}

absl::Status Walk::Absorb(OneSearch* query) {
  Scratch& scratch = *query->scratch;
  const Tensor& scores = scratch.frame.scores;
  if (!scores.IsInitialized() || scores.NumElements() != query->asked.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the scorer gave scores of shape ", scores.shape().DebugString(),
        " for ", query->asked.size(), " rows"));
  }
  const float* const values = static_cast<const float*>(scores.data());
  const int64_t fault = scratch.search.Absorb(values);
  if (fault >= 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the scorer gave ", values[fault], " for row ", query->asked[fault],
        " of query ", query->number, ", wanted a number"));
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
