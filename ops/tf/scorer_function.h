// The scorer of Nann>BeamSearch: a TensorFlow function, ready to run.

#ifndef NANN_OPS_TF_SCORER_FUNCTION_H_
#define NANN_OPS_TF_SCORER_FUNCTION_H_

#include <vector>

#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"

namespace nann {

struct ScorerFunction {
  tensorflow::FunctionLibraryRuntime* library = nullptr;
  tensorflow::FunctionLibraryRuntime::Handle handle;
  // No node of it waits for another thread: it runs in the caller's.
  bool is_simple = false;
};

// Makes a function ready to run. Refuses one that does not take arguments of
// these types or does not return one float32 tensor.
absl::Status Instantiate(tensorflow::FunctionLibraryRuntime* library,
                         const tensorflow::NameAttrList& function,
                         const tensorflow::DataTypeVector& argument_types,
                         ScorerFunction* scorer);

// Makes a function that is ready to run a simple one, if it can be.
void MakeSimple(const tensorflow::NameAttrList& function,
                ScorerFunction* scorer);

// Arguments and result of a call. The function reads the arguments where they
// lie: TensorFlow's own frame would copy them at each call.
class ScorerFrame : public tensorflow::CallFrameInterface {
 public:
  std::vector<tensorflow::Tensor> arguments;
  tensorflow::Tensor scores;

  size_t num_args() const override { return arguments.size(); }
  size_t num_retvals() const override { return 1; }
  absl::Status GetArg(int index, const tensorflow::Tensor** value) override;
  absl::Status SetRetval(int index, const tensorflow::Tensor& value) override;
};

}  // namespace nann

#endif  // NANN_OPS_TF_SCORER_FUNCTION_H_
