// Drives the searches of one call of Nann>BeamSearch.

#ifndef NANN_OPS_TF_WALK_H_
#define NANN_OPS_TF_WALK_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "ops/core/beam_search.h"
#include "ops/core/scratch_pool.h"
#include "ops/tf/call_limit.h"
#include "ops/tf/gather.h"
#include "ops/tf/scorer_function.h"
#include "ops/tf/search_call.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace nann {

// Runs the searches of one call, several at a time, and calls `done` once.
//
// A search never waits: where the scorer runs in another thread, its callback
// carries on. Whoever comes second (the callback, or the loop that started the
// scorer) takes the next step, so that a long search does not grow a stack.
class Walk : public std::enable_shared_from_this<Walk> {
 public:
  // What one search keeps from step to step and from call to call.
  struct Scratch {
    BeamSearch search;
    std::vector<RowGatherer> gatherers;  // One for each item state.
    ScorerFrame frame;
  };

  Walk(tensorflow::OpKernelContext* context, const ScorerFunction& scorer,
       SearchCall call, ScratchPool<Scratch>* pool,
       tensorflow::AsyncOpKernel::DoneCallback done);

  absl::Status AllocateOutputs();

  // Works through all queries with as many workers as there are processors.
  void Run();

 private:
  using Lease = ScratchPool<Scratch>::Lease;

  // One search on its way; owned by whoever takes its next step.
  struct OneSearch {
    OneSearch(int64_t number, Lease scratch)
        : number(number), scratch(std::move(scratch)) {}

    const int64_t number;
    Lease scratch;
    Span<const int32_t> asked;
    absl::Status status;
    // 1 once the callback or the loop that started the scorer has come by.
    std::atomic<int> arrived{0};
  };

  // Takes the next query, or leaves if there is none.
  void NextSearch(Lease scratch);

  // Lays out the arguments of the scorer, but for the item state.
  void SetArguments(OneSearch* query);

  // Takes steps until the search ends (true) or a callback carries on (false).
  bool Advance(const std::shared_ptr<OneSearch>& query);

  // Starts the scorer. Returns true if it is done, false if its callback will
  // carry on.
  bool RunInBackground(const std::shared_ptr<OneSearch>& query);

  // Returns why the call is not to go on, if it is not.
  absl::Status CheckGoesOn() const;

  // Copies the item state of the rows asked for into arguments of the scorer.
  absl::Status GatherItems(OneSearch* query);

  // Hands the scores to the search.
  absl::Status Absorb(OneSearch* query);

  void WriteAnswers(const OneSearch& query);

  // Keeps the first failure of a call.
  void Fail(const absl::Status& status);

  // The last worker to leave ends the call.
  void Leave();

  tensorflow::OpKernelContext* const context_;
  const ScorerFunction scorer_;
  const SearchCall call_;
  const tensorflow::FunctionLibraryRuntime::Options options_;
  ScratchPool<Scratch>* const pool_;
  tensorflow::AsyncOpKernel::DoneCallback done_;
  tensorflow::Allocator* const allocator_;
  const CallLimit* const limit_;
  tensorflow::Tensor* rows_ = nullptr;
  tensorflow::Tensor* scores_ = nullptr;
  tensorflow::Tensor* num_scored_ = nullptr;

  std::atomic<int64_t> next_query_{0};
  std::atomic<int64_t> active_workers_{0};
  std::atomic<bool> has_failed_{false};
  std::mutex mutex_;
  absl::Status status_;
};

}  // namespace nann

#endif  // NANN_OPS_TF_WALK_H_
