// Nann>PairScore on a GPU: ops/tf/pair_score_op.cc says what it does. The same
// device code as the pair scorer that is built in (ops/cuda/scorers.h). With
// float16 or bfloat16 items, products are of that type and sums float32.

#include <memory>

#include "absl/strings/str_cat.h"
#include "ops/cuda/scorers.h"
#include "ops/tf/gpu/device_model.h"
#include "ops/tf/gpu/registration.h"
#include "ops/tf/pair_inputs.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace nann {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

NannCudaType ToCuda(StateType type) {
  if (type == StateType::kFloat16) return NANN_CUDA_FLOAT16;
  if (type == StateType::kBfloat16) return NANN_CUDA_BFLOAT16;
  return NANN_CUDA_FLOAT32;
}

absl::Status ToCuda(const PairInputs& inputs, NannCudaPairs* pairs) {
  const PairModel& model = inputs.model;
  if (model.layers.size() > NANN_CUDA_MAX_LAYERS) {
    return absl::InvalidArgumentError(absl::StrCat(
        "there are ", model.layers.size(), " kernels, wanted at most ",
        static_cast<int>(NANN_CUDA_MAX_LAYERS), " on a GPU"));
  }
  *pairs = {};
  pairs->type = ToCuda(inputs.type);
  pairs->uses_matrix_units = 1;
  pairs->num_queries = inputs.num_users;
  pairs->query_width = model.query_width;
  pairs->length = model.padded_length;
  pairs->num_values = model.length;
  pairs->width = model.width;
  pairs->item_query = inputs.query;
  pairs->item_hidden = inputs.hidden;
  pairs->keys = model.keys;
  pairs->key_bias = model.key_bias;
  pairs->values = model.values;
  pairs->user_hidden = model.user_hidden;
  for (const PairLayer& layer : model.layers) {
    pairs->layers[pairs->num_layers++] = {layer.slope, layer.kernel, layer.bias,
                                          layer.inputs, layer.outputs};
  }
  pairs->last_slope = model.last_slope;
  pairs->out = model.out;
  return absl::OkStatus();
}

class PairScoreGpuOp : public OpKernel {
 public:
  explicit PairScoreGpuOp(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    PairInputs inputs;
    OP_REQUIRES_OK(context, ReadPairInputs(context, &inputs));
    Tensor* scores;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, {inputs.num_users, inputs.num_items}, &scores));
    if (scores->NumElements() == 0) return;
    NannCudaPairs pairs;
    OP_REQUIRES_OK(context, ToCuda(inputs, &pairs));
    const std::unique_ptr<NannCudaPairScorer, void (*)(NannCudaPairScorer*)>
        scorer(NannCudaPairScorerNew(&pairs), NannCudaPairScorerDelete);
    OP_REQUIRES(context, scorer != nullptr,
                absl::InvalidArgumentError(NannCudaError()));
    Tensor memory;
    OP_REQUIRES_OK(
        context,
        Allocate(context, NannCudaPairScorerBytes(scorer.get()), &memory));
    void* const stream = StreamOf(context);
    OP_REQUIRES_OK(context, FromCuda(NannCudaPairScorerPrepare(
                                scorer.get(), memory.data(), stream)));
    OP_REQUIRES_OK(
        context, FromCuda(NannCudaScorePairRows(
                     scorer.get(), inputs.num_items, inputs.has_items_per_user,
                     scores->flat<float>().data(), stream)));
  }
};

REGISTER_KERNEL_BUILDER(Name("Nann>PairScore").NANN_GPU_KERNEL, PairScoreGpuOp);

}  // namespace
}  // namespace nann
