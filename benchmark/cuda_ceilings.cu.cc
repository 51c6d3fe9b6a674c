// What a GPU can do at best, measured with kernels that do nothing else.

#include <cstdint>

#include "ops/cuda/error.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/nann_cuda.h"

namespace nann {
namespace {

constexpr int kThreads = 256;
constexpr int kChains = 8;  // Independent sums, to hide how long each takes.

__global__ void CopyKernel(uint4* to, const uint4* from, int64_t number) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < number;
       i += int64_t{gridDim.x} * blockDim.x) {
    to[i] = from[i];
  }
}

__global__ void FloatKernel(int64_t rounds, float* out) {
  float sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = static_cast<float>(threadIdx.x);
  const float factor = 1.0f - 1e-7f * static_cast<float>(blockIdx.x);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) sums[i] = sums[i] * factor + 1.0f;
  }
  float total = 0;
  for (int i = 0; i < kChains; ++i) total += sums[i];
  // Never so, but the compiler does not know.
  if (total == -1.0f) out[threadIdx.x] = total;
}

__global__ void MatrixKernel(int64_t rounds, float* out) {
  using namespace nvcuda;  // NOLINT: the names of matrices.
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> b;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sums[kChains];
  wmma::fill_fragment(a, __float2half(0.5f));
  wmma::fill_fragment(b, __float2half(0.25f));
  for (int i = 0; i < kChains; ++i) wmma::fill_fragment(sums[i], 0.0f);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) {
      wmma::mma_sync(sums[i], a, b, sums[i]);
    }
  }
  float total = 0;
  for (int i = 0; i < kChains; ++i) total += sums[i].x[0];
  if (total == -1.0f) out[threadIdx.x] = total;
}

}  // namespace
}  // namespace nann

extern "C" {

NANN_CUDA_API int NannCudaCopyOnDevice(void* to, const void* from,
                                       int64_t size_bytes, void* stream) {
  NANN_LAUNCH(nann::CopyKernel, nann::NumBlocks(INT32_MAX), nann::kThreads, 0,
              nann::ToStream(stream), static_cast<uint4*>(to),
              static_cast<const uint4*>(from),
              size_bytes / static_cast<int64_t>(sizeof(uint4)));
  return nann::CheckLaunch("copy");
}

// Returns how many operations it puts into the stream; a multiplication and an
// addition are two.
NANN_CUDA_API double NannCudaMultiplyInRegisters(int is_matrix, int64_t rounds,
                                                 void* memory, void* stream) {
  const int64_t num_blocks = nann::NumBlocks(INT32_MAX);
  float* const out = static_cast<float*>(memory);
  double of_thread = 2.0 * nann::kChains;
  if (is_matrix != 0) {
    NANN_LAUNCH(nann::MatrixKernel, num_blocks, nann::kThreads, 0,
                nann::ToStream(stream), rounds, out);
    of_thread *= 16.0 * 16 * 16 / nann::kWarp;
  } else {
    NANN_LAUNCH(nann::FloatKernel, num_blocks, nann::kThreads, 0,
                nann::ToStream(stream), rounds, out);
  }
  return of_thread * static_cast<double>(rounds) *
         static_cast<double>(num_blocks) * nann::kThreads;
}

}  // extern "C"
