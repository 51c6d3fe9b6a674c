// CUDA on a processor, to test the logic of kernels where there is no GPU.
//
// The blocks of a launch run one after another. The threads of a block are
// fibers: each runs until it waits for its block or its warp (or, now and then,
// until it comes to an atomic operation). Who goes next is drawn by chance,
// with some warps far ahead of the others, so that a result that depends on the
// order shows. A barrier that not all threads reach, or that they reach at
// different lines, ends the program with a message; shared memory and fresh
// memory begin as noise.
//
// What it cannot show: races between two barriers where each thread's part is
// right on its own, the memory model (here every write is seen at once),
// several blocks or streams at the same time, limits of registers, alignment of
// vector loads, and time. Launches do not overlap with the host.

#ifndef NANN_TESTS_OPS_CUDA_EMULATOR_H_
#define NANN_TESTS_OPS_CUDA_EMULATOR_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __host__
#define __device__
#define __global__ static
#define __launch_bounds__(...)

struct EmulatedIndex {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x, y, z;
  dim3(int64_t x = 1, int64_t y = 1, int64_t z = 1)  // NOLINT: as in CUDA.
      : x(x), y(y), z(z) {}
};
struct uint4 {
  uint32_t x, y, z, w;
};
// What the runtime of CUDA tells.
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue, cudaErrorMemory };

extern EmulatedIndex threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace nann::emulator {

// Runs a kernel; what is wrong with the launch is the next cudaGetLastError.
void Launch(dim3 grid, dim3 threads, int64_t shared_bytes,
            const std::function<void()>& kernel);

unsigned char* SharedMemory();

// Memory that was not set yet: noise.
void FillWithNoise(void* memory, int64_t size_bytes);

// Waits for all threads of the block, or all lanes of the warp.
void WaitForBlock(int line);
void WaitForWarp(int line);

// Lets others go first, sometimes.
void MayYield();

// Gives a value to the other lanes of the warp and waits for theirs; the result
// holds until the lane's next exchange but one.
const uint64_t* Exchange(uint64_t value, int line);

// Of a block, on an H100.
constexpr int64_t kMaxSharedBytes = 227 << 10;

// Draws other orders from now on.
void Seed(uint64_t seed);

template <typename T>
uint64_t ToBits(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(value));
  return bits;
}

template <typename T>
T FromBits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Makes this the next cudaGetLastError.
void Fail(cudaError_t error);

// Ends the program: a kernel does what it must not.
[[noreturn]] void Stop(const char* message);

inline int Lane() { return static_cast<int>(threadIdx.x % 32); }

template <typename T, typename Change>
T Atomically(T* place, Change change) {
  MayYield();
  const T old = *place;
  *place = change(old);
  return old;
}

}  // namespace nann::emulator

// ---- Barriers and the warp. Only all lanes together. ----

inline void __syncthreads(int line = __builtin_LINE()) {
  nann::emulator::WaitForBlock(line);
}

inline void __syncwarp(uint32_t = ~0u, int line = __builtin_LINE()) {
  nann::emulator::WaitForWarp(line);
}

template <typename T>
T __shfl_sync(uint32_t, T value, int lane, int line = __builtin_LINE()) {
  using namespace nann::emulator;  // NOLINT: within this function.
  return FromBits<T>(Exchange(ToBits(value), line)[lane & 31]);
}

template <typename T>
T __shfl_up_sync(uint32_t, T value, int step, int line = __builtin_LINE()) {
  using namespace nann::emulator;  // NOLINT: within this function.
  const uint64_t* const all = Exchange(ToBits(value), line);
  return FromBits<T>(all[Lane() < step ? Lane() : Lane() - step]);
}

template <typename T>
T __shfl_xor_sync(uint32_t, T value, int mask, int line = __builtin_LINE()) {
  using namespace nann::emulator;  // NOLINT: within this function.
  return FromBits<T>(Exchange(ToBits(value), line)[Lane() ^ mask]);
}

inline uint32_t __ballot_sync(uint32_t, bool value,
                              int line = __builtin_LINE()) {
  const uint64_t* const all = nann::emulator::Exchange(value, line);
  uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= static_cast<uint32_t>(all[i]) << i;
  return bits;
}

inline int __popc(uint32_t value) { return __builtin_popcount(value); }
inline int __ffs(uint32_t value) { return __builtin_ffs(value); }

// ---- Atomic operations ----

template <typename T>
T atomicAdd(T* place, T value) {
  return nann::emulator::Atomically(place, [=](T old) { return old + value; });
}
template <typename T>
T atomicOr(T* place, T value) {
  return nann::emulator::Atomically(place, [=](T old) { return old | value; });
}
template <typename T>
T atomicMin(T* place, T value) {
  return nann::emulator::Atomically(
      place, [=](T old) { return value < old ? value : old; });
}
template <typename T>
T atomicMax(T* place, T value) {
  return nann::emulator::Atomically(
      place, [=](T old) { return value > old ? value : old; });
}
template <typename T>
T atomicCAS(T* place, T expected, T value) {
  return nann::emulator::Atomically(
      place, [=](T old) { return old == expected ? value : old; });
}

// ---- The host's side ----

enum cudaMemcpyKind {
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice
};
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin
};
using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
struct cudaDeviceProp {
  char name[64];
  int major, minor, multiProcessorCount, l2CacheSize;
  int64_t totalGlobalMem;
};

const char* cudaGetErrorString(cudaError_t status);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int* number);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute,
                                   int device);
cudaError_t cudaMalloc(void** memory, int64_t size_bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocHost(void** memory, int64_t size_bytes);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemcpyAsync(void* to, const void* from, int64_t size_bytes,
                            cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, int64_t size_bytes,
                            cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaEventCreate(cudaEvent_t* event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin,
                                 cudaEvent_t end);
struct cudaFuncAttributes {
  int ptxVersion;
};
template <typename Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel) {
  attributes->ptxVersion = 90;
  return cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, int) {
  return cudaSuccess;
}

#endif  // NANN_TESTS_OPS_CUDA_EMULATOR_H_
