// Errors, and the few services of a device that a program without CUDA of its
// own needs: memory, copies, streams, times.

#include <string>

#include "ops/cuda/device_memory.h"
#include "ops/cuda/error.h"
#include "ops/cuda/nann_cuda.h"

namespace nann {
namespace {

std::string* Error() {
  thread_local std::string error;
  return &error;
}

}  // namespace

int SetError(const std::string& sentence) {
  *Error() = sentence;
  return 1;
}

int Check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return 0;
  return SetError(std::string(what) + ": " + cudaGetErrorString(status));
}

int CheckLaunch(const char* what) { return Check(cudaGetLastError(), what); }

}  // namespace nann

using nann::Check;
using nann::ToStream;

const char* NannCudaError(void) { return nann::Error()->c_str(); }

int NannCudaNumDevices(void) {
  int number = 0;
  const cudaError_t status = cudaGetDeviceCount(&number);
  if (status == cudaSuccess) return number;
  Check(status, "number of devices");
  return 0;
}

int NannCudaDescribe(NannCudaDevice* device) {
  cudaDeviceProp properties;
  if (Check(cudaGetDeviceProperties(&properties, 0), "device 0")) return 1;
  *device = {};
  for (int i = 0; i < NANN_CUDA_NAME_SIZE - 1 && properties.name[i]; ++i) {
    device->name[i] = properties.name[i];
  }
  device->capability = 10 * properties.major + properties.minor;
  device->num_multiprocessors = properties.multiProcessorCount;
  device->memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  device->cache_bytes = properties.l2CacheSize;
  return 0;
}

void* NannCudaAllocate(int64_t size_bytes) {
  void* memory = nullptr;
  const int64_t wanted = size_bytes > 0 ? size_bytes : 1;
  return Check(cudaMalloc(&memory, wanted), "memory") ? nullptr : memory;
}

int NannCudaFree(void* memory) { return Check(cudaFree(memory), "free"); }

int NannCudaToDevice(void* to, const void* from, int64_t size_bytes,
                     void* stream) {
  return Check(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyHostToDevice,
                               ToStream(stream)),
               "copy to the device");
}

int NannCudaToHost(void* to, const void* from, int64_t size_bytes,
                   void* stream) {
  if (Check(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyDeviceToHost,
                            ToStream(stream)),
            "copy to the host")) {
    return 1;
  }
  return NannCudaSynchronize(stream);
}

int NannCudaSynchronize(void* stream) {
  return Check(cudaStreamSynchronize(ToStream(stream)), "work of a stream");
}

void* NannCudaStreamNew(void) {
  cudaStream_t stream = nullptr;
  if (Check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
            "stream")) {
    return nullptr;
  }
  return stream;
}

int NannCudaStreamDelete(void* stream) {
  return Check(cudaStreamDestroy(ToStream(stream)), "end of a stream");
}

void* NannCudaEventNew(void) {
  cudaEvent_t event = nullptr;
  return Check(cudaEventCreate(&event), "event") ? nullptr : event;
}

int NannCudaEventRecord(void* event, void* stream) {
  return Check(
      cudaEventRecord(static_cast<cudaEvent_t>(event), ToStream(stream)),
      "event");
}

double NannCudaSecondsBetween(void* begin, void* end) {
  float milliseconds = 0;
  if (Check(cudaEventSynchronize(static_cast<cudaEvent_t>(end)), "event") ||
      Check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin),
                                 static_cast<cudaEvent_t>(end)),
            "time")) {
    return -1;
  }
  return milliseconds / 1e3;
}
