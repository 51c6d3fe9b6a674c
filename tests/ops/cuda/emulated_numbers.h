// The small numbers and the matrix units of CUDA, for emulator.h. A matrix of a
// warp is held, and worked on, by its first lane alone: a lane that forgets to
// wait for the others shows.

#ifndef NANN_TESTS_OPS_CUDA_EMULATED_NUMBERS_H_
#define NANN_TESTS_OPS_CUDA_EMULATED_NUMBERS_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/ops/cuda/emulator.h"

struct __half {
  _Float16 value;
};
inline float __half2float(__half half) {
  return static_cast<float>(half.value);
}
inline __half __float2half(float value) {
  return {static_cast<_Float16>(value)};
}

struct __nv_bfloat16 {
  uint16_t bits;
};
inline float __bfloat162float(__nv_bfloat16 number) {
  const uint32_t bits = uint32_t{number.bits} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
// To the nearest, and to the even one of two.
inline __nv_bfloat16 __float2bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(value));
  if (value != value) return {0x7fff};
  bits += 0x7fff + (bits >> 16 & 1);
  return {static_cast<uint16_t>(bits >> 16)};
}

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
enum layout_t { mem_row_major };

inline float Value(float value) { return value; }
inline float Value(__half value) { return __half2float(value); }
inline float Value(__nv_bfloat16 value) { return __bfloat162float(value); }

template <typename Use, int m, int n, int k, typename T, typename Layout = void>
struct fragment {
  static_assert(m == 16 && n == 16 && k == 16);
  float x[16 * 16];
};

inline bool IsHolder() { return nann::emulator::Lane() == 0; }

// What the matrix units ask of an address, which a GPU would not tell.
template <typename T>
void CheckPlace(const T* place, unsigned stride) {
  const bool is_aligned = reinterpret_cast<uintptr_t>(place) % 32 == 0;
  if (!is_aligned || stride * sizeof(T) % 16 != 0) {
    nann::emulator::Stop("a matrix is not aligned to 32 bytes");
  }
}

template <typename Fragment, typename T>
void fill_fragment(Fragment& to, T value) {  // NOLINT: as in CUDA.
  if (!IsHolder()) return;
  for (float& number : to.x) number = Value(value);
}

template <typename Use, typename T>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, row_major>& to,  // NOLINT
                      const T* from, unsigned stride) {
  CheckPlace(from, stride);
  if (!IsHolder()) return;
  for (int i = 0; i < 16 * 16; ++i) {
    to.x[i] = Value(from[i / 16 * stride + i % 16]);
  }
}

template <typename T>
void mma_sync(
    fragment<accumulator, 16, 16, 16, float>& to,  // NOLINT: as in CUDA.
    const fragment<matrix_a, 16, 16, 16, T, row_major>& a,
    const fragment<matrix_b, 16, 16, 16, T, row_major>& b,
    const fragment<accumulator, 16, 16, 16, float>& c) {
  if (!IsHolder()) return;
  if (&to != &c) std::memcpy(to.x, c.x, sizeof(to.x));
  for (int i = 0; i < 16; ++i) {
    for (int l = 0; l < 16; ++l) {
      const float factor = a.x[16 * i + l];
      for (int j = 0; j < 16; ++j) {
        to.x[16 * i + j] += factor * b.x[16 * l + j];
      }
    }
  }
}

inline void store_matrix_sync(
    float* to, const fragment<accumulator, 16, 16, 16, float>& from,
    unsigned stride, layout_t) {
  CheckPlace(to, stride);
  if (!IsHolder()) return;
  for (int i = 0; i < 16 * 16; ++i) {
    to[i / 16 * stride + i % 16] = from.x[i];
  }
}

}  // namespace nvcuda::wmma

#endif  // NANN_TESTS_OPS_CUDA_EMULATED_NUMBERS_H_
