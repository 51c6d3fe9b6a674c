#include "ops/tf/run_options.h"

#include "tensorflow/core/framework/cancellation.h"

namespace nann {

using tensorflow::FunctionLibraryRuntime;
using tensorflow::OpKernelContext;

FunctionLibraryRuntime::Options RunOptions(OpKernelContext* context) {
  FunctionLibraryRuntime::Options options(context->step_id());
  options.rendezvous = context->rendezvous();
  options.cancellation_manager = context->cancellation_manager();
  options.collective_executor = context->collective_executor();
  options.step_container = context->step_container();
  options.stats_collector = context->stats_collector();
  options.runner = context->runner();
  return options;
}

absl::Status CheckGoesOn(OpKernelContext* context, const CallLimit* limit) {
  auto* const manager = context->cancellation_manager();
  if (manager != nullptr && manager->IsCancelled()) {
    return absl::CancelledError("the search was cancelled");
  }
  return limit == nullptr ? absl::OkStatus() : CheckLimit(*limit);
}

}  // namespace nann
