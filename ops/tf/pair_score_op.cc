// Nann>PairScore: the pair part of an attention scorer as one op. What it
// computes is said in ops/core/pair_scorer.h.

#include <cstdint>
#include <vector>

#include "ops/core/pair_scorer.h"
#include "ops/tf/float_memory.h"
#include "ops/tf/op_inputs.h"
#include "ops/tf/pair_inputs.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace nann {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

REGISTER_OP("Nann>PairScore")
    .Input("query: T")
    .Input("hidden: T")
    .Input("keys: float")
    .Input("key_bias: float")
    .Input("values: float")
    .Input("user_hidden: float")
    .Input("slopes: num_slopes * float")
    .Input("kernels: num_layers * float")
    .Input("biases: num_layers * float")
    .Input("out: float")
    .Output("scores: float")
    .Attr("T: {float, half, bfloat16}")
    .Attr("num_layers: int >= 0")
    .Attr("num_slopes: int >= 1")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle keys, hidden;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 3, &hidden));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 3, &keys));
      c->set_output(0, c->Matrix(c->Dim(keys, 0), c->Dim(hidden, 1)));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Scores N items for each of B users:

  x = hidden + softmax(query keys + key_bias) values + user_hidden
  x = prelu(x, slopes[i]) kernels[i] + biases[i]   for each layer i
  score = prelu(x, slopes[num_layers]) out

All widths are multiples of 16; P, the padded number of positions, too.

query: [1 or B, N, Q], the same items for all users or N of each user's own; Q =
  0: no attention.
hidden: [1 or B, N, W].
keys: [B, Q, P].
key_bias: [B, P]; very low for padding.
values: [B, L, W], L <= P.
user_hidden: [B, W], or [B, 0]: none.
slopes: Of the PReLU before each layer and before the last product.
kernels: [inputs, outputs] of each layer.
biases: [outputs] of each layer.
out: [outputs of the last layer].
scores: [B, N].
)doc");

class PairScoreOp : public OpKernel {
 public:
  explicit PairScoreOp(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    PairInputs inputs;
    OP_REQUIRES_OK(context, ReadPairInputs(context, &inputs));
    Tensor* scores;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, {inputs.num_users, inputs.num_items}, &scores));
    const std::vector<PairModel> models = Models(inputs);
    float* const all = scores->flat<float>().data();
    ShareItems(context, inputs.num_users, inputs.num_items,
               [&](int64_t user, int64_t begin, int64_t end) {
                 ScoreRange(inputs, models[user], user, begin, end,
                            all + user * inputs.num_items + begin);
               });
  }

 private:
  // Returns the model of each user.
  static std::vector<PairModel> Models(const PairInputs& inputs) {
    std::vector<PairModel> models(inputs.num_users, inputs.model);
    for (int64_t user = 0; user < inputs.num_users; ++user) {
      PairModel& model = models[user];
      model.keys += user * model.query_width * model.key_stride;
      model.key_bias += user * model.key_stride;
      model.values += user * model.length * model.width;
      if (model.user_hidden != nullptr) {
        model.user_hidden += user * model.width;
      }
      LeaveOutPadding(&model);
    }
    return models;
  }

  // Scores a range of a user's items.
  static void ScoreRange(const PairInputs& inputs, const PairModel& model,
                         int64_t user, int64_t begin, int64_t end,
                         float* scores) {
    const int64_t group = inputs.has_items_per_user ? user : 0;
    const int64_t item = group * inputs.num_items + begin;
    const int64_t item_bytes = inputs.type == StateType::kFloat32 ? 4 : 2;
    const PairItems items = {inputs.type,
                             static_cast<const char*>(inputs.query) +
                                 item * model.query_width * item_bytes,
                             static_cast<const char*>(inputs.hidden) +
                                 item * model.width * item_bytes,
                             end - begin};
    ScorePairs(model, items, FloatMemory(PairScratchSize(model)), scores);
  }
};

REGISTER_KERNEL_BUILDER(Name("Nann>PairScore").Device(tensorflow::DEVICE_CPU),
                        PairScoreOp);

}  // namespace
}  // namespace nann
