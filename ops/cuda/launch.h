// How large a launch is to be.

#ifndef NANN_OPS_CUDA_LAUNCH_H_
#define NANN_OPS_CUDA_LAUNCH_H_

#include <algorithm>
#include <cstdint>

#include "ops/cuda/device.h"

namespace nann {

// Blocks that take one piece of work after another: enough to fill the device,
// however much work there turns out to be.
inline int64_t NumBlocks(int64_t most) {
  constexpr int64_t kOfMultiprocessor = 16;
  int device = 0, number = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&number, cudaDevAttrMultiProcessorCount, device);
  return std::min(most, number * kOfMultiprocessor);
}

// Lets a kernel use so much shared memory. Returns whether the device has it.
template <typename Kernel>
bool AllowShared(Kernel kernel, int64_t size_bytes) {
  int device = 0, most = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                         device);
  return size_bytes <= most &&
         cudaFuncSetAttribute(kernel,
                              cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(size_bytes)) == cudaSuccess;
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_LAUNCH_H_
