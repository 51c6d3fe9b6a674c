#include "ops/serving/tensor_wire.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ops/requests/wire.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace nann {
namespace {

using tensorflow::DataType;
using tensorflow::Tensor;

// Elements of one tensor, sizes beside a 0 included.
constexpr int64_t kMostElements = 1 << 24;

// Fields of TensorProto, as far as a response has them.
constexpr int kDtype = 1;
constexpr int kShape = 2;
constexpr int kDimension = 2;
constexpr int kSize = 1;

int FieldOf(DataType dtype) {
  switch (dtype) {
    case tensorflow::DT_FLOAT:
      return kFloatValues;
    case tensorflow::DT_INT32:
      return kIntValues;
    case tensorflow::DT_INT64:
      return kInt64Values;
    case tensorflow::DT_HALF:
      return kHalfValues;
    default:
      return 0;
  }
}

template <typename T>
T* Values(Tensor* tensor) {
  return static_cast<T*>(tensor->data());
}

// The last value stands for those that were left out; without any it is 0.
template <typename T>
void Repeat(int64_t given, int64_t number, T* values) {
  std::fill(values + given, values + number,
            given == 0 ? T{0} : values[given - 1]);
}

// Reads packed varints as integers of type T, of the bits that Wide has.
template <typename T, typename Wide>
bool ReadVarints(std::string_view packed, int64_t number, T* values) {
  WireReader reader(packed);
  int64_t given = 0;
  while (!reader.is_at_end()) {
    uint64_t value;
    if (given == number || !reader.ReadVarint(&value)) return false;
    const auto wide = static_cast<Wide>(value);
    values[given] = static_cast<T>(wide);
    // Half floats come in integers that hold more than they do.
    if (static_cast<Wide>(values[given]) != wide) return false;
    ++given;
  }
  Repeat(given, number, values);
  return true;
}

bool ReadFloats(std::string_view packed, int64_t number, float* values) {
  const auto given = static_cast<int64_t>(packed.size() / sizeof(float));
  if (packed.size() % sizeof(float) != 0 || given > number) return false;
  std::memcpy(values, packed.data(), packed.size());
  Repeat(given, number, values);
  return true;
}

template <typename T>
void PackVarints(const Tensor& tensor, std::string* packed) {
  const T* const values = static_cast<const T*>(tensor.data());
  for (int64_t i = 0; i < tensor.NumElements(); ++i) {
    // Negative ones are extended to 64 bits.
    AppendVarint(static_cast<uint64_t>(static_cast<int64_t>(values[i])),
                 packed);
  }
}

}  // namespace

bool IsPlainType(DataType dtype) { return FieldOf(dtype) != 0; }

bool ReadTensorValues(const TensorView& view, Tensor* tensor) {
  if (view.dtype <= 0 || view.dtype > tensorflow::DataType_MAX) return false;
  const auto dtype = static_cast<DataType>(view.dtype);
  if (!IsPlainType(dtype)) return false;
  int64_t without_zeros = 1;
  for (const int64_t size : view.shape) {
    if (size > 0) without_zeros *= size;
    if (without_zeros > kMostElements) return false;
  }
  *tensor = Tensor(dtype, tensorflow::TensorShape(view.shape));
  const int64_t number = tensor->NumElements();
  if (!view.content.empty()) {
    const size_t wanted = number * tensorflow::DataTypeSize(dtype);
    if (view.content.size() != wanted) return false;
    std::memcpy(tensor->data(), view.content.data(), wanted);
    return true;
  }
  if (view.field != 0 && view.field != FieldOf(dtype)) return false;
  switch (dtype) {
    case tensorflow::DT_FLOAT:
      return ReadFloats(view.values, number, Values<float>(tensor));
    case tensorflow::DT_INT32:
      return ReadVarints<int32_t, int32_t>(view.values, number,
                                           Values<int32_t>(tensor));
    case tensorflow::DT_INT64:
      return ReadVarints<int64_t, int64_t>(view.values, number,
                                           Values<int64_t>(tensor));
    default:
      return ReadVarints<uint16_t, int32_t>(view.values, number,
                                            Values<uint16_t>(tensor));
  }
}

void AppendTensor(const Tensor& tensor, std::string* out) {
  AppendNumber(kDtype, tensor.dtype(), out);
  std::string shape;
  for (int i = 0; i < tensor.dims(); ++i) {
    std::string dimension;
    if (tensor.dim_size(i) != 0) {
      AppendNumber(kSize, tensor.dim_size(i), &dimension);
    }
    AppendBytes(kDimension, dimension, &shape);
  }
  AppendBytes(kShape, shape, out);
  if (tensor.NumElements() == 0) return;
  std::string packed;
  switch (tensor.dtype()) {
    case tensorflow::DT_FLOAT:
      packed.assign(static_cast<const char*>(tensor.data()),
                    tensor.NumElements() * sizeof(float));
      break;
    case tensorflow::DT_INT32:
      PackVarints<int32_t>(tensor, &packed);
      break;
    case tensorflow::DT_INT64:
      PackVarints<int64_t>(tensor, &packed);
      break;
    default:
      PackVarints<uint16_t>(tensor, &packed);
  }
  AppendBytes(FieldOf(tensor.dtype()), packed, out);
}

}  // namespace nann
