#include "ops/tf/gather.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/common_runtime/dma_helper.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace nann {
namespace {

using tensorflow::DMAHelper;
using tensorflow::Tensor;
using tensorflow::TensorShape;

// So that a search whose steps grow does not allocate at each.
constexpr int64_t kMinRows = 256;

// A copy of known size is a few instructions, any other a function call.
template <int64_t size_bytes>
void CopyRows(const char* from, Span<const int32_t> rows, char* to) {
  for (const int32_t row : rows) {
    std::memcpy(to, from + row * size_bytes, size_bytes);
    to += size_bytes;
  }
}

void CopyRows(const char* from, int64_t size_bytes, Span<const int32_t> rows,
              char* to) {
  if (size_bytes == 4) return CopyRows<4>(from, rows, to);
  if (size_bytes == 8) return CopyRows<8>(from, rows, to);
  if (size_bytes == 16) return CopyRows<16>(from, rows, to);
  for (const int32_t row : rows) {
    std::memcpy(to, from + row * size_bytes, size_bytes);
    to += size_bytes;
  }
}

}  // namespace

void RowGatherer::SetState(const Tensor& state) {
  dtype_ = state.dtype();
  data_ = static_cast<const char*>(state.data());
  row_bytes_ = static_cast<int64_t>(state.TotalBytes()) / state.dim_size(0);
  shape_ = state.shape();
  shape_.InsertDim(0, 1);
}

bool RowGatherer::HasRoom(int64_t size_bytes) const {
  // A scorer may keep what it was given: in a variable, a queue, in Python.
  return room_.NumElements() >= size_bytes &&
         DMAHelper::buffer(&room_)->RefCountIsOne();
}

absl::Status RowGatherer::Gather(Span<const int32_t> rows,
                                 tensorflow::Allocator* allocator,
                                 Tensor* gathered) {
  *gathered = Tensor();
  shape_.set_dim(1, rows.size());
  const int64_t size_bytes = rows.size() * row_bytes_;
  if (size_bytes == 0) {
    *gathered = Tensor(allocator, dtype_, shape_);
    return absl::OkStatus();
  }
  if (!HasRoom(size_bytes)) {
    const int64_t room_bytes = std::max(2 * size_bytes, kMinRows * row_bytes_);
    room_ = Tensor(allocator, tensorflow::DT_UINT8, TensorShape({room_bytes}));
    if (!room_.IsInitialized()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for the item state of ", rows.size(),
                       " rows, ", room_bytes, " bytes"));
    }
  }
  CopyRows(data_, row_bytes_, rows, static_cast<char*>(room_.data()));
  *gathered = Tensor(dtype_, shape_, DMAHelper::buffer(&room_));
  return absl::OkStatus();
}

}  // namespace nann
