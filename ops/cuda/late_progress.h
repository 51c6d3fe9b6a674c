// The host's look at a search that goes on meanwhile.

#ifndef NANN_OPS_CUDA_LATE_PROGRESS_H_
#define NANN_OPS_CUDA_LATE_PROGRESS_H_

#include "ops/cuda/device.h"
#include "ops/cuda/nann_cuda.h"

namespace nann {

// Tells, each time, what was true the time before: the device is never idle
// while the host waits. Its memory is made when it is first used.
class LateProgress {
 public:
  LateProgress() = default;
  LateProgress(const LateProgress&) = delete;
  LateProgress& operator=(const LateProgress&) = delete;
  ~LateProgress() {
    if (copies_ == nullptr) return;
    cudaFreeHost(copies_);
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
  }

  // Begins with a search.
  cudaError_t Start() {
    number_ = 0;
    if (copies_ != nullptr) return cudaSuccess;
    void* memory = nullptr;
    for (cudaEvent_t& event : events_) {
      const cudaError_t status =
          cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
      if (status != cudaSuccess) return status;
    }
    const cudaError_t status =
        cudaMallocHost(&memory, 2 * sizeof(NannCudaProgress));
    copies_ = static_cast<NannCudaProgress*>(memory);
    return status;
  }

  // Puts a look into the stream, and returns whether, at the look before, all
  // queries were over.
  bool IsOver(const NannCudaProgress* progress, cudaStream_t stream) {
    const int side = number_++ % 2;
    cudaMemcpyAsync(copies_ + side, progress, sizeof(*progress),
                    cudaMemcpyDeviceToHost, stream);
    cudaEventRecord(events_[side], stream);
    if (number_ == 1) return false;
    cudaEventSynchronize(events_[1 - side]);
    return copies_[1 - side].num_active == 0;
  }

 private:
  NannCudaProgress* copies_ = nullptr;
  cudaEvent_t events_[2] = {};
  int64_t number_ = 0;
};

}  // namespace nann

#endif  // NANN_OPS_CUDA_LATE_PROGRESS_H_
