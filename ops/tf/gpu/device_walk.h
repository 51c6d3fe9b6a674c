// Drives the searches of one call of Nann>BeamSearch on a GPU.

#ifndef NANN_OPS_TF_GPU_DEVICE_WALK_H_
#define NANN_OPS_TF_GPU_DEVICE_WALK_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "ops/tf/call_limit.h"
#include "ops/tf/gpu/device_model.h"
#include "ops/tf/scorer_function.h"
#include "ops/tf/search_call.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace nann {

// Walks for all queries at once, and calls `done` once.
//
// The host learns, once between two steps, how many rows the largest query asks
// for: the scorer is a function of tensors, whose shapes the host must know. It
// then gathers the item state into a batch [B, n, ...], where n is a power of
// two, and calls the scorer; all else is on the device.
class DeviceWalk : public std::enable_shared_from_this<DeviceWalk> {
 public:
  DeviceWalk(tensorflow::OpKernelContext* context, const ScorerFunction& scorer,
             SearchCall call, std::shared_ptr<const DeviceModel> model,
             tensorflow::AsyncOpKernel::DoneCallback done);
  ~DeviceWalk();

  // Takes memory and puts the start of the search into the stream.
  absl::Status Prepare();

  // Takes steps until the search ends, or until a callback carries on.
  void Run();

 private:
  absl::Status CopyQueries();
  absl::Status Start(bool has_room_for_ties);

  // Reads what the step holds, and lays out the arguments of the scorer.
  absl::Status PrepareStep(bool* is_over);
  absl::Status GatherItems();

  // Starts the scorer. Returns true if it is done, false if its callback will
  // carry on.
  bool RunScorer();
  absl::Status TakeScores();
  absl::Status Finish();

  tensorflow::OpKernelContext* const context_;
  const ScorerFunction scorer_;
  const SearchCall call_;
  const std::shared_ptr<const DeviceModel> model_;
  const tensorflow::FunctionLibraryRuntime::Options options_;
  tensorflow::AsyncOpKernel::DoneCallback done_;
  void* const stream_;
  const CallLimit* const limit_;

  NannCudaQueries queries_ = {};
  tensorflow::Tensor expand_, only_score_, allowed_, denied_;
  NannCudaSearch* search_ = nullptr;
  tensorflow::Tensor memory_;
  ScorerFrame frame_;
  int64_t padded_ = 0;  // Rows of each query that the step's scores are for.
  int64_t num_restarts_ = 0;
  absl::Status status_;
  // 1 once the callback or the loop that started the scorer has come by.
  std::atomic<int> arrived_{0};
};

}  // namespace nann

#endif  // NANN_OPS_TF_GPU_DEVICE_WALK_H_
