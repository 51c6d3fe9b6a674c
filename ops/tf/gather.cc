#include "ops/tf/gather.h"

#include <algorithm>
#include <cstring>

#include "tensorflow/core/framework/tensor_shape.h"

namespace nann {
namespace {

using tensorflow::Tensor;
using tensorflow::TensorShape;

bool HasRoom(const Tensor& room, const Tensor& state, int64_t size) {
  if (room.dtype() != state.dtype() || room.dims() != state.dims() ||
      room.dim_size(0) < size) {
    return false;
  }
  for (int i = 1; i < room.dims(); ++i) {
    if (room.dim_size(i) != state.dim_size(i)) return false;
  }
  return true;
}

}  // namespace

void Gather(const Tensor& state, Span<const int32_t> rows,
            tensorflow::Allocator* allocator, Tensor* room, Tensor* argument) {
  if (!HasRoom(*room, state, rows.size())) {
    TensorShape shape = state.shape();
    shape.set_dim(0, std::max<int64_t>(2 * rows.size(), 256));
    *room = Tensor(allocator, state.dtype(), shape);
  }
  const int64_t row_bytes =
      static_cast<int64_t>(state.TotalBytes()) / state.dim_size(0);
  const char* const from = state.tensor_data().data();
  char* to = static_cast<char*>(room->data());
  for (const int32_t row : rows) {
    std::memcpy(to, from + row * row_bytes, row_bytes);
    to += row_bytes;
  }
  // [n, ...] -> [1, n, ...], in the same memory.
  TensorShape shape = state.shape();
  shape.set_dim(0, rows.size());
  shape.InsertDim(0, 1);
  const bool is_reshaped =
      argument->CopyFrom(room->Slice(0, rows.size()), shape);
  DCHECK(is_reshaped);
}

}  // namespace nann
