// Graph and item state of a search on the device.

#ifndef NANN_OPS_TF_GPU_DEVICE_MODEL_H_
#define NANN_OPS_TF_GPU_DEVICE_MODEL_H_

#include <cstdint>
#include <vector>

#include "ops/cuda/nann_cuda.h"
#include "ops/tf/search_call.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"

namespace nann {

// Returns the stream into which the op's kernels put their work.
void* StreamOf(tensorflow::OpKernelContext* context);

// Takes memory of the device.
absl::Status Allocate(tensorflow::OpKernelContext* context, int64_t size_bytes,
                      tensorflow::Tensor* memory);

// Turns the status of a function of nann_cuda.h into one of TensorFlow.
absl::Status FromCuda(int status);

absl::Status CopyToDevice(tensorflow::OpKernelContext* context,
                          const tensorflow::Tensor& host,
                          tensorflow::Tensor* device);

// Copies of a call's graph and item state. They are large, and made once for as
// long as the calls bring the same memory.
class DeviceModel {
 public:
  absl::Status Copy(tensorflow::OpKernelContext* context,
                    const SearchCall& call);

  // Returns whether the call brings what was copied.
  bool IsOf(tensorflow::OpKernelContext* context, const SearchCall& call) const;

  const NannCudaGraph& graph() const { return graph_; }
  const std::vector<tensorflow::Tensor>& item_state() const {
    return item_state_;
  }

 private:
  NannCudaGraph graph_ = {};
  std::vector<tensorflow::Tensor> originals_;
  std::vector<tensorflow::Tensor> of_graph_;
  std::vector<tensorflow::Tensor> item_state_;
};

}  // namespace nann

#endif  // NANN_OPS_TF_GPU_DEVICE_MODEL_H_
