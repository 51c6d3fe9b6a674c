// The scorer of Nann>BeamSearch: a TensorFlow function, ready to run.

#ifndef NANN_OPS_TF_SCORER_FUNCTION_H_
#define NANN_OPS_TF_SCORER_FUNCTION_H_

#include "tensorflow/core/framework/function.h"

namespace nann {

struct ScorerFunction {
  tensorflow::FunctionLibraryRuntime* library = nullptr;
  tensorflow::FunctionLibraryRuntime::Handle handle;
  // No node of it waits for another thread: it runs in the caller's.
  bool is_simple = false;
};

// Makes a function ready to run; as a simple one if it can be.
absl::Status Instantiate(tensorflow::FunctionLibraryRuntime* library,
                         const tensorflow::NameAttrList& function,
                         ScorerFunction* scorer);

}  // namespace nann

#endif  // NANN_OPS_TF_SCORER_FUNCTION_H_
