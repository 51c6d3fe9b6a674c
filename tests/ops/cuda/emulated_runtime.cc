// The host's side of the emulator: memory that is the host's own, and streams
// whose work is done at once.

#include <chrono>
#include <cstdlib>

#include "tests/ops/cuda/emulator.h"

namespace nann::emulator {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

}  // namespace

void Fail(cudaError_t error) { last_error = error; }

}  // namespace nann::emulator

using nann::emulator::last_error;

const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaSuccess ? "no error" : "emulator: invalid value";
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaGetDeviceCount(int* number) {
  *number = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulator", 9, 0, 2, 1 << 20, int64_t{1} << 30};
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount
               ? 2
               : static_cast<int>(nann::emulator::kMaxSharedBytes);
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, int64_t size_bytes) {
  *memory = std::aligned_alloc(256, (size_bytes + 255) / 256 * 256);
  if (*memory == nullptr) return cudaErrorMemory;
  nann::emulator::FillWithNoise(*memory, size_bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, int64_t size_bytes) {
  return cudaMalloc(memory, size_bytes);
}

cudaError_t cudaFreeHost(void* memory) { return cudaFree(memory); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, int64_t size_bytes,
                            cudaMemcpyKind, cudaStream_t) {
  if (size_bytes > 0) std::memmove(to, from, size_bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, int64_t size_bytes,
                            cudaStream_t) {
  std::memset(memory, value, size_bytes);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = reinterpret_cast<cudaEvent_t>(new double(0));
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<double*>(event);
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  *reinterpret_cast<double*>(event) =
      std::chrono::duration<double, std::milli>(now).count();
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin,
                                 cudaEvent_t end) {
  *milliseconds = static_cast<float>(*reinterpret_cast<double*>(end) -
                                     *reinterpret_cast<double*>(begin));
  return cudaSuccess;
}
