// Nann>TermScore: the pair part of a scorer that is a sum of terms as one op.
// What it computes is said in ops/core/term_scorer.h.

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ops/core/term_scorer.h"
#include "ops/tf/float_memory.h"
#include "ops/tf/op_inputs.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace nann {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

REGISTER_OP("Nann>TermScore")
    .Input("vector: T")
    .Input("bias: T")
    .Input("query: T")
    .Input("reply: T")
    .Input("category_id: int32")
    .Input("item_id: int32")
    .Input("user_vector: float")
    .Input("keys: float")
    .Input("key_logits: float")
    .Input("values: float")
    .Input("category_ids: int32")
    .Input("category_weights: float")
    .Input("item_ids: int32")
    .Input("repeat_mass: float")
    .Output("scores: float")
    .Attr("T: {float, half, bfloat16}")
    .Attr("max_logit: float")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle bias, user_vector;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &bias));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(6), 2, &user_vector));
      c->set_output(0, c->Matrix(c->Dim(user_vector, 0), c->Dim(bias, 1)));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Scores N items for each of B users:

  s     = vector user_vector + bias
        + (softmax(bound(query keys) + key_logits) values) reply
        + sum of category_weights where category_ids is category_id
  mass  = sum of repeat_mass where item_ids is item_id
  score = log(exp(s) + mass)

with bound(x) = max_logit tanh(x / max_logit).

vector: [1, N, D].
bias: [1, N].
query: [1, N, Q], Q a multiple of 16; Q = 0: no attention.
reply: [1, N, Q].
category_id: [1, N]; not read if R = 0.
item_id: [1, N]; not read if R = 0.
user_vector: [B, D].
keys: [B, Q, L].
key_logits: [B, L]; -1e8 or less for padding, which is left out at the
  end, all but the first position.
values: [B, L, Q]; 0 for padding.
category_ids: [B, R]; R = 0: nothing is said by ids.
category_weights: [B, R].
item_ids: [B, R].
repeat_mass: [B, R].
scores: [B, N].
)doc");

enum Inputs {
  kVector,
  kBias,
  kQuery,
  kReply,
  kCategoryId,
  kItemId,
  kUserVector,
  kKeys,
  kKeyLogits,
  kValues,
  kCategoryIds,
  kCategoryWeights,
  kItemIds,
  kRepeatMass,
};

class TermScoreOp : public OpKernel {
 public:
  explicit TermScoreOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("max_logit", &max_logit_));
    OP_REQUIRES(context, max_logit_ > 0,
                absl::InvalidArgumentError(absl::StrCat(
                    "max_logit is ", max_logit_, ", wanted more than 0")));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, CheckItems(context));
    OP_REQUIRES_OK(context, CheckUsers(context));
    const int64_t num_users = context->input(kUserVector).dim_size(0);
    const int64_t num_items = context->input(kVector).dim_size(1);
    Tensor* scores;
    OP_REQUIRES_OK(
        context, context->allocate_output(0, {num_users, num_items}, &scores));
    float* const all = scores->flat<float>().data();
    ShareItems(context, num_users, num_items,
               [&](int64_t i, int64_t begin, int64_t end) {
                 const TermUser user = UserOf(context, i);
                 const TermItems items = ItemsOf(context, begin, end);
                 float* const scratch =
                     FloatMemory(TermScratchSize(user, items.n));
                 ScoreTerms(user, items, scratch, all + i * num_items + begin);
               });
  }

 private:
  static absl::Status CheckItems(OpKernelContext* context) {
    const Tensor& vector = context->input(kVector);
    const Tensor& query = context->input(kQuery);
    TF_RETURN_IF_ERROR(CheckShape("vector", vector, {1, -1, -1}));
    const int64_t n = vector.dim_size(1);
    TF_RETURN_IF_ERROR(CheckShape("bias", context->input(kBias), {1, n}));
    TF_RETURN_IF_ERROR(CheckShape("query", query, {1, n, -1}));
    const int64_t query_width = query.dim_size(2);
    if (query_width % kTermLanes != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("query has width ", query_width,
                       ", wanted a multiple of ", kTermLanes));
    }
    return CheckShape("reply", context->input(kReply), {1, n, query_width});
  }

  static absl::Status CheckUsers(OpKernelContext* context) {
    const int64_t num_items = context->input(kVector).dim_size(1);
    const int64_t width = context->input(kVector).dim_size(2);
    const int64_t query_width = context->input(kQuery).dim_size(2);
    const Tensor& vector = context->input(kUserVector);
    TF_RETURN_IF_ERROR(CheckShape("user_vector", vector, {-1, width}));
    const int64_t users = vector.dim_size(0);
    const Tensor& keys = context->input(kKeys);
    TF_RETURN_IF_ERROR(CheckShape("keys", keys, {users, query_width, -1}));
    const int64_t length = keys.dim_size(2);
    TF_RETURN_IF_ERROR(
        CheckShape("key_logits", context->input(kKeyLogits), {users, length}));
    TF_RETURN_IF_ERROR(CheckShape("values", context->input(kValues),
                                  {users, length, query_width}));
    const Tensor& item_ids = context->input(kItemIds);
    TF_RETURN_IF_ERROR(CheckShape("item_ids", item_ids, {users, -1}));
    const int64_t num_ids = item_ids.dim_size(1);
    for (const auto& [name, input] :
         {std::pair("category_ids", kCategoryIds),
          std::pair("category_weights", kCategoryWeights),
          std::pair("repeat_mass", kRepeatMass)}) {
      TF_RETURN_IF_ERROR(
          CheckShape(name, context->input(input), {users, num_ids}));
    }
    if (num_ids == 0) return absl::OkStatus();
    TF_RETURN_IF_ERROR(
        CheckShape("category_id", context->input(kCategoryId), {1, num_items}));
    return CheckShape("item_id", context->input(kItemId), {1, num_items});
  }

  TermUser UserOf(OpKernelContext* context, int64_t user) const {
    TermUser found;
    found.width = context->input(kVector).dim_size(2);
    found.query_width = context->input(kQuery).dim_size(2);
    found.length = context->input(kKeys).dim_size(2);
    found.padded_length = found.length;
    found.max_logit = max_logit_;
    found.num_ids = context->input(kItemIds).dim_size(1);
    found.vector = Row<float>(context, kUserVector, user);
    found.keys = Row<float>(context, kKeys, user);
    found.key_logits = Row<float>(context, kKeyLogits, user);
    found.values = Row<float>(context, kValues, user);
    found.category_ids = Row<int32_t>(context, kCategoryIds, user);
    found.category_weights = Row<float>(context, kCategoryWeights, user);
    found.item_ids = Row<int32_t>(context, kItemIds, user);
    found.repeat_mass = Row<float>(context, kRepeatMass, user);
    return found;
  }

  template <typename T>
  static const T* Row(OpKernelContext* context, int input, int64_t row) {
    const Tensor& tensor = context->input(input);
    return tensor.flat<T>().data() +
           row * (tensor.NumElements() / tensor.dim_size(0));
  }

  static TermItems ItemsOf(OpKernelContext* context, int64_t begin,
                           int64_t end) {
    const auto from = [&](int input, int64_t width) -> const void* {
      const Tensor& tensor = context->input(input);
      return tensor.tensor_data().data() +
             begin * width * tensorflow::DataTypeSize(tensor.dtype());
    };
    TermItems items;
    items.type = StateTypeOf(context->input(kVector).dtype());
    items.vector = from(kVector, context->input(kVector).dim_size(2));
    items.bias = from(kBias, 1);
    const int64_t query_width = context->input(kQuery).dim_size(2);
    items.query = from(kQuery, query_width);
    items.reply = from(kReply, query_width);
    items.category_ids =
        context->input(kCategoryId).flat<int32_t>().data() + begin;
    items.item_ids = context->input(kItemId).flat<int32_t>().data() + begin;
    items.n = end - begin;
    return items;
  }

  float max_logit_ = 0.0f;
};

REGISTER_KERNEL_BUILDER(Name("Nann>TermScore").Device(tensorflow::DEVICE_CPU),
                        TermScoreOp);

}  // namespace
}  // namespace nann
