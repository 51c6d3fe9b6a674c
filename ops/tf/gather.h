// The item state of a step's rows, copied together for the scorer.

#ifndef NANN_OPS_TF_GATHER_H_
#define NANN_OPS_TF_GATHER_H_

#include <cstdint>

#include "ops/core/span.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/tensor.h"

namespace nann {

// Copies rows of one state [I, ...] together, step after step, into memory that
// it keeps.
class RowGatherer {
 public:
  // Begins with another state, which outlives its use.
  void SetState(const tensorflow::Tensor& state);

  // Makes `gathered` [1, n, ...] of n rows. The memory of what was gathered
  // before is used again, but never while anybody else still holds it.
  absl::Status Gather(Span<const int32_t> rows,
                      tensorflow::Allocator* allocator,
                      tensorflow::Tensor* gathered);

 private:
  bool HasRoom(int64_t size_bytes) const;

  tensorflow::DataType dtype_ = tensorflow::DT_INVALID;
  const char* data_ = nullptr;
  int64_t row_bytes_ = 0;
  tensorflow::TensorShape shape_;  // [1, n, ...]
  tensorflow::Tensor room_;        // Bytes.
};

}  // namespace nann

#endif  // NANN_OPS_TF_GATHER_H_
