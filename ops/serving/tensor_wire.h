// TensorProto to Tensor and back, of the types that searches take and give.

#ifndef NANN_OPS_SERVING_TENSOR_WIRE_H_
#define NANN_OPS_SERVING_TENSOR_WIRE_H_

#include <string>

#include "ops/requests/predict_request.h"
#include "tensorflow/core/framework/tensor.h"

namespace nann {

// Whether both functions know a type.
bool IsPlainType(tensorflow::DataType dtype);

// False: of another type, or not whole. As nann/serving/tensors.py reads it.
bool ReadTensorValues(const TensorView& view, tensorflow::Tensor* tensor);

// Appends a TensorProto with typed values: clients read `int64_val`.
void AppendTensor(const tensorflow::Tensor& tensor, std::string* out);

}  // namespace nann

#endif  // NANN_OPS_SERVING_TENSOR_WIRE_H_
