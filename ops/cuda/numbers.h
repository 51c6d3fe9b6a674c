// The types that state of items may have, as floats.

#ifndef NANN_OPS_CUDA_NUMBERS_H_
#define NANN_OPS_CUDA_NUMBERS_H_

#include <cstdint>

#include "ops/cuda/device.h"

namespace nann {

__device__ inline float ToFloat(float value) { return value; }
__device__ inline float ToFloat(__half value) { return __half2float(value); }
__device__ inline float ToFloat(__nv_bfloat16 value) {
  return __bfloat162float(value);
}

template <typename T>
__device__ T FromFloat(float value);

template <>
__device__ inline float FromFloat<float>(float value) {
  return value;
}
template <>
__device__ inline __half FromFloat<__half>(float value) {
  return __float2half(value);
}
template <>
__device__ inline __nv_bfloat16 FromFloat<__nv_bfloat16>(float value) {
  return __float2bfloat16(value);
}

// Several numbers that are read at once.
template <typename T, int kNumber>
struct alignas(sizeof(T) * kNumber) Pack {
  T values[kNumber];
};

template <int kNumber, typename T>
__device__ inline Pack<T, kNumber> LoadPack(const T* from) {
  return *reinterpret_cast<const Pack<T, kNumber>*>(from);
}

template <typename T>
__device__ inline void ToFloats(const Pack<T, 4>& pack, float* floats) {
#pragma unroll
  for (int i = 0; i < 4; ++i) floats[i] = ToFloat(pack.values[i]);
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_NUMBERS_H_
