// What went wrong, kept for the thread that asks.

#ifndef NANN_OPS_CUDA_ERROR_H_
#define NANN_OPS_CUDA_ERROR_H_

#include <string>

#include "ops/cuda/device.h"

namespace nann {

// Keeps a sentence for NannCudaError. Returns 1.
int SetError(const std::string& sentence);

// Returns 0 if all went well, else 1; `what` was being done.
int Check(cudaError_t status, const char* what);
int CheckLaunch(const char* what);

inline cudaStream_t ToStream(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_ERROR_H_
