// How the scorer of a search is run, on any device.

#ifndef NANN_OPS_TF_RUN_OPTIONS_H_
#define NANN_OPS_TF_RUN_OPTIONS_H_

#include "ops/tf/call_limit.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace nann {

// Returns the options of the call that the context is of.
tensorflow::FunctionLibraryRuntime::Options RunOptions(
    tensorflow::OpKernelContext* context);

// Returns why a call is not to go on, if it is not.
absl::Status CheckGoesOn(tensorflow::OpKernelContext* context,
                         const CallLimit* limit);

}  // namespace nann

#endif  // NANN_OPS_TF_RUN_OPTIONS_H_
