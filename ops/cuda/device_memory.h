/* Services of device 0 for programs that have no CUDA of their own, such as the
 * tests: memory, copies, streams and times. */

#ifndef NANN_OPS_CUDA_DEVICE_MEMORY_H_
#define NANN_OPS_CUDA_DEVICE_MEMORY_H_

#include "ops/cuda/nann_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { NANN_CUDA_NAME_SIZE = 64 };

typedef struct NannCudaDevice {
  char name[NANN_CUDA_NAME_SIZE];
  int32_t capability; /* 90 is 9.0. */
  int32_t num_multiprocessors;
  int64_t memory_bytes;
  int64_t cache_bytes;
} NannCudaDevice;

/* 0 also where there is no driver; NannCudaError() says why. */
NANN_CUDA_API int NannCudaNumDevices(void);
NANN_CUDA_API int NannCudaDescribe(NannCudaDevice* device);

NANN_CUDA_API void* NannCudaAllocate(int64_t size_bytes);
NANN_CUDA_API int NannCudaFree(void* memory);
NANN_CUDA_API int NannCudaToDevice(void* to, const void* from,
                                   int64_t size_bytes, void* stream);
/* Waits for the stream. */
NANN_CUDA_API int NannCudaToHost(void* to, const void* from, int64_t size_bytes,
                                 void* stream);
NANN_CUDA_API int NannCudaSynchronize(void* stream);

NANN_CUDA_API void* NannCudaStreamNew(void);
NANN_CUDA_API int NannCudaStreamDelete(void* stream);
NANN_CUDA_API void* NannCudaEventNew(void);
NANN_CUDA_API int NannCudaEventRecord(void* event, void* stream);
/* Waits for the second event. */
NANN_CUDA_API double NannCudaSecondsBetween(void* begin, void* end);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* NANN_OPS_CUDA_DEVICE_MEMORY_H_ */
