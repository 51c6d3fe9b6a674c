// Nann>PairUser: the user's side of an attention scorer as one op. What it
// computes is said in ops/core/pair_user.h.

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "ops/core/pair_scorer.h"
#include "ops/core/pair_user.h"
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

REGISTER_OP("Nann>PairUser")
    .Input("embedding: float")
    .Input("first: float")
    .Input("first_bias: float")
    .Input("slope: float")
    .Input("second: float")
    .Input("second_bias: float")
    .Input("values_kernel: float")
    .Output("keys: float")
    .Output("key_bias: float")
    .Output("values: float")
    .Attr("mask_padding: bool")
    .SetShapeFn([](tensorflow::shape_inference::InferenceContext* c) {
      tensorflow::shape_inference::ShapeHandle embedding, second, kernel;
      tensorflow::shape_inference::DimensionHandle query_width;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 3, &embedding));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(4), 2, &second));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(6), 2, &kernel));
      TF_RETURN_IF_ERROR(c->Subtract(c->Dim(second, 0), 1, &query_width));
      const auto users = c->Dim(embedding, 0);
      const auto length = c->UnknownDim();
      c->set_output(0, c->MakeShape({users, query_width, length}));
      c->set_output(1, c->Matrix(users, length));
      c->set_output(2,
                    c->MakeShape({users, c->UnknownDim(), c->Dim(kernel, 1)}));
      return absl::OkStatus();
    })
    .Doc(R"doc(
Lays histories of B users out for Nann>PairScore:

  hidden = prelu(embedding first^T + first_bias, slope)
  keys   = hidden second^T + second_bias, the last column being the key bias
  values = embedding values_kernel

A position whose embedding is all zero is padding.

embedding: [B, L, D].
first: [A, D].
first_bias: [A].
slope: [A], of the PReLU.
second: [Q + 1, A].
second_bias: [Q + 1].
values_kernel: [D, W], W a multiple of 16.
mask_padding: Padding gets a very low key bias, and positions that are padding
  for all users are cut off at the end, all but one.
keys: [B, Q, P], P a multiple of 16.
key_bias: [B, P], very low for padding and beyond M.
values: [B, M, W], M the positions that are left; P is the least possible.
)doc");

absl::Status Check(OpKernelContext* context, PairUserModel* model) {
  const auto check = [&](const char* name, std::initializer_list<int64_t> shape,
                         const Tensor** tensor) -> absl::Status {
    TF_RETURN_IF_ERROR(context->input(name, tensor));
    return CheckShape(name, **tensor, shape);
  };
  const Tensor *embedding, *first, *first_bias, *slope, *second, *second_bias,
      *values;
  TF_RETURN_IF_ERROR(check("embedding", {-1, -1, -1}, &embedding));
  model->inputs = embedding->dim_size(2);
  TF_RETURN_IF_ERROR(check("first", {-1, model->inputs}, &first));
  model->hidden = first->dim_size(0);
  TF_RETURN_IF_ERROR(check("first_bias", {model->hidden}, &first_bias));
  TF_RETURN_IF_ERROR(check("slope", {model->hidden}, &slope));
  TF_RETURN_IF_ERROR(check("second", {-1, model->hidden}, &second));
  const int64_t rows = second->dim_size(0);
  TF_RETURN_IF_ERROR(check("second_bias", {rows}, &second_bias));
  TF_RETURN_IF_ERROR(check("values_kernel", {model->inputs, -1}, &values));
  model->width = values->dim_size(1);
  model->first = first->flat<float>().data();
  model->first_bias = first_bias->flat<float>().data();
  model->slope = slope->flat<float>().data();
  model->second = second->flat<float>().data();
  model->second_bias = second_bias->flat<float>().data();
  model->values = values->flat<float>().data();
  if (rows < 1 || model->width < 1 || model->width % kPairLanes != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "second has ", rows, " rows, values_kernel ", model->width,
        " columns, wanted at least 1 and a multiple of ", kPairLanes));
  }
  model->query_width = rows - 1;
  return absl::OkStatus();
}

// Returns how many positions the longest history takes, at least 1.
int64_t Longest(const float* embedding, int64_t num_users, int64_t length,
                int64_t inputs) {
  for (int64_t place = length; place > 1; --place) {
    for (int64_t user = 0; user < num_users; ++user) {
      if (IsTaken(embedding + (user * length + place - 1) * inputs, inputs)) {
        return place;
      }
    }
  }
  return std::min<int64_t>(length, 1);
}

class PairUserOp : public OpKernel {
 public:
  explicit PairUserOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("mask_padding", &mask_padding_));
  }

  void Compute(OpKernelContext* context) override {
    PairUserModel model;
    OP_REQUIRES_OK(context, Check(context, &model));
    const Tensor& embedding = context->input(0);
    const float* const from = embedding.flat<float>().data();
    const int64_t num_users = embedding.dim_size(0);
    const int64_t given = embedding.dim_size(1);
    const int64_t length =
        mask_padding_ ? Longest(from, num_users, given, model.inputs) : given;
    const int64_t padded = (length + kPairLanes - 1) / kPairLanes * kPairLanes;
    Tensor *keys, *key_bias, *values;
    OP_REQUIRES_OK(context,
                   context->allocate_output(
                       0, {num_users, model.query_width, padded}, &keys));
    OP_REQUIRES_OK(context,
                   context->allocate_output(1, {num_users, padded}, &key_bias));
    OP_REQUIRES_OK(context, context->allocate_output(
                                2, {num_users, length, model.width}, &values));
    float* const scratch = FloatMemory(PairUserScratchSize(model, padded));
    for (int64_t user = 0; user < num_users; ++user) {
      const PairHistory history = {from + user * given * model.inputs, length,
                                   padded};
      const PairKeys result = {
          keys->flat<float>().data() + user * model.query_width * padded,
          key_bias->flat<float>().data() + user * padded,
          values->flat<float>().data() + user * length * model.width};
      MakePairKeys(model, history, mask_padding_, scratch, result);
    }
  }

 private:
  bool mask_padding_ = false;
};

REGISTER_KERNEL_BUILDER(Name("Nann>PairUser").Device(tensorflow::DEVICE_CPU),
                        PairUserOp);

}  // namespace
}  // namespace nann
