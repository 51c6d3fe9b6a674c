// The item state of a step's rows, copied together for the scorer.

#ifndef NANN_OPS_TF_GATHER_H_
#define NANN_OPS_TF_GATHER_H_

#include <cstdint>

#include "ops/core/span.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/tensor.h"

namespace nann {

// Copies rows of a state [I, ...] into `argument` [1, n, ...]. The argument is
// a view of `room`, which is kept from step to step and grows as needed.
void Gather(const tensorflow::Tensor& state, Span<const int32_t> rows,
            tensorflow::Allocator* allocator, tensorflow::Tensor* room,
            tensorflow::Tensor* argument);

}  // namespace nann

#endif  // NANN_OPS_TF_GATHER_H_
