// The words of CUDA, from CUDA or from the emulator of the tests.
//
// The same sources are compiled by nvcc for a GPU, and by a C++ compiler with
// NANN_EMULATED for machines without one (tests/ops/cuda/emulator.h).

#ifndef NANN_OPS_CUDA_DEVICE_H_
#define NANN_OPS_CUDA_DEVICE_H_

#ifdef NANN_EMULATED
#include "tests/ops/cuda/emulated_numbers.h"
#include "tests/ops/cuda/emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>
#endif

#include <cstdint>

namespace nann {

constexpr int kWarp = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;
constexpr int kMaxWarps = 32;

#ifdef NANN_EMULATED

inline unsigned char* SharedMemory() { return emulator::SharedMemory(); }

#define NANN_LAUNCH(kernel, grid, threads, shared_bytes, stream, ...) \
  ::nann::emulator::Launch(grid, threads, shared_bytes,               \
                           [&, ignored = (stream)] {                  \
                             (void)ignored;                           \
                             kernel(__VA_ARGS__);                     \
                           })

#else

// What the launch gave to the block, aligned as matrix units want it.
__device__ inline unsigned char* SharedMemory() {
  extern __shared__ __align__(128) unsigned char memory[];
  return memory;
}

#define NANN_LAUNCH(kernel, grid, threads, shared_bytes, stream, ...) \
  kernel<<<grid, threads, shared_bytes, stream>>>(__VA_ARGS__)

#endif

}  // namespace nann

#endif  // NANN_OPS_CUDA_DEVICE_H_
