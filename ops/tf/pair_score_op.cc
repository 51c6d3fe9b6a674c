// Nann>PairScore: the pair part of an attention scorer as one op. What it
// computes is said in ops/core/pair_scorer.h.

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "ops/core/pair_scorer.h"
#include "ops/core/span.h"
#include "ops/tf/float_memory.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/platform/threadpool.h"

namespace nann {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

// Items that are worth handing to another thread.
constexpr int64_t kShardItems = 512;

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

query: [1, N, Q]; Q = 0: no attention.
hidden: [1, N, W].
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

Span<const float> Flat(const Tensor& tensor) {
  return {tensor.flat<float>().data(), tensor.NumElements()};
}

absl::Status Wrong(const std::string& name, const Tensor& got,
                   const std::string& wanted) {
  return absl::InvalidArgumentError(absl::StrCat(
      name, " has shape ", got.shape().DebugString(), ", wanted ", wanted));
}

bool IsWide(int64_t width) { return width % kPairLanes == 0; }

class PairScoreOp : public OpKernel {
 public:
  explicit PairScoreOp(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& query = context->input(0);
    const Tensor& hidden = context->input(1);
    PairModel model;
    OP_REQUIRES_OK(context, ReadItems(query, hidden, &model));
    OP_REQUIRES_OK(context, ReadLayers(context, &model));
    OP_REQUIRES_OK(context, CheckUsers(context, model));
    const int64_t num_users = context->input(2).dim_size(0);
    const int64_t num_items = hidden.dim_size(1);
    Tensor* scores;
    OP_REQUIRES_OK(
        context, context->allocate_output(0, {num_users, num_items}, &scores));
    for (int64_t user = 0; user < num_users; ++user) {
      SetUser(context, user, &model);
      ScoreItems(context, model, query, hidden,
                 scores->flat<float>().data() + user * num_items);
    }
  }

 private:
  static absl::Status ReadItems(const Tensor& query, const Tensor& hidden,
                                PairModel* model) {
    if (hidden.dims() != 3 || hidden.dim_size(0) != 1 ||
        !IsWide(hidden.dim_size(2)) || hidden.dim_size(2) < 1) {
      return Wrong("hidden", hidden, "[1, N, W], W a multiple of 16");
    }
    if (query.dims() != 3 || query.dim_size(0) != 1 ||
        query.dim_size(1) != hidden.dim_size(1) || !IsWide(query.dim_size(2))) {
      return Wrong(
          "query", query,
          absl::StrCat("[1, ", hidden.dim_size(1), ", Q], Q a multiple of 16"));
    }
    model->width = hidden.dim_size(2);
    model->query_width = query.dim_size(2);
    return absl::OkStatus();
  }

  static absl::Status ReadLayers(OpKernelContext* context, PairModel* model) {
    OpInputList slopes, kernels, biases;
    TF_RETURN_IF_ERROR(context->input_list("slopes", &slopes));
    TF_RETURN_IF_ERROR(context->input_list("kernels", &kernels));
    TF_RETURN_IF_ERROR(context->input_list("biases", &biases));
    const Tensor* out;
    TF_RETURN_IF_ERROR(context->input("out", &out));
    if (slopes.size() != kernels.size() + 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "there are ", slopes.size(), " slopes, wanted ", kernels.size() + 1));
    }
    int64_t width = model->width;
    for (int i = 0; i <= kernels.size(); ++i) {
      if (slopes[i].dims() != 1 || slopes[i].dim_size(0) != width) {
        return Wrong(absl::StrCat("slopes[", i, "]"), slopes[i],
                     absl::StrCat("[", width, "]"));
      }
      if (i == kernels.size()) break;
      if (kernels[i].dims() != 2 || kernels[i].dim_size(0) != width ||
          !IsWide(kernels[i].dim_size(1)) || kernels[i].dim_size(1) < 1) {
        return Wrong(absl::StrCat("kernels[", i, "]"), kernels[i],
                     absl::StrCat("[", width, ", a multiple of 16]"));
      }
      const int64_t outputs = kernels[i].dim_size(1);
      if (biases[i].dims() != 1 || biases[i].dim_size(0) != outputs) {
        return Wrong(absl::StrCat("biases[", i, "]"), biases[i],
                     absl::StrCat("[", outputs, "]"));
      }
      model->layers.push_back({Flat(slopes[i]).data(), Flat(kernels[i]).data(),
                               Flat(biases[i]).data(), width, outputs});
      width = outputs;
    }
    if (out->dims() != 1 || out->dim_size(0) != width) {
      return Wrong("out", *out, absl::StrCat("[", width, "]"));
    }
    model->last_slope = Flat(slopes[kernels.size()]).data();
    model->out = Flat(*out).data();
    return absl::OkStatus();
  }

  // Checks the inputs that have a row for each user.
  static absl::Status CheckUsers(OpKernelContext* context,
                                 const PairModel& model) {
    const Tensor& keys = context->input(2);
    const Tensor& key_bias = context->input(3);
    const Tensor& values = context->input(4);
    const Tensor& user_hidden = context->input(5);
    if (keys.dims() != 3 || keys.dim_size(1) != model.query_width ||
        !IsWide(keys.dim_size(2)) ||
        (model.query_width > 0 && keys.dim_size(2) < 1)) {
      return Wrong(
          "keys", keys,
          absl::StrCat("[B, ", model.query_width, ", P], P a multiple of 16"));
    }
    const int64_t num_users = keys.dim_size(0);
    const int64_t padded = keys.dim_size(2);
    if (key_bias.dims() != 2 || key_bias.dim_size(0) != num_users ||
        key_bias.dim_size(1) != padded) {
      return Wrong("key_bias", key_bias,
                   absl::StrCat("[", num_users, ", ", padded, "]"));
    }
    if (values.dims() != 3 || values.dim_size(0) != num_users ||
        values.dim_size(1) > padded || values.dim_size(2) != model.width) {
      return Wrong("values", values,
                   absl::StrCat("[", num_users, ", at most ", padded, ", ",
                                model.width, "]"));
    }
    if (user_hidden.dims() != 2 || user_hidden.dim_size(0) != num_users ||
        (user_hidden.dim_size(1) != 0 &&
         user_hidden.dim_size(1) != model.width)) {
      return Wrong("user_hidden", user_hidden,
                   absl::StrCat("[", num_users, ", ", model.width, " or 0]"));
    }
    return absl::OkStatus();
  }

  static void SetUser(OpKernelContext* context, int64_t user,
                      PairModel* model) {
    const auto row = [&](int input) -> const float* {
      const Tensor& tensor = context->input(input);
      const int64_t size = tensor.NumElements() / tensor.dim_size(0);
      return tensor.flat<float>().data() + user * size;
    };
    model->padded_length = context->input(2).dim_size(2);
    model->length = context->input(4).dim_size(1);
    model->keys = row(2);
    model->key_bias = row(3);
    model->values = row(4);
    model->user_hidden = context->input(5).dim_size(1) > 0 ? row(5) : nullptr;
  }

  static StateType TypeOf(tensorflow::DataType dtype) {
    if (dtype == tensorflow::DT_HALF) return StateType::kFloat16;
    if (dtype == tensorflow::DT_BFLOAT16) return StateType::kBfloat16;
    return StateType::kFloat32;
  }

  static void ScoreItems(OpKernelContext* context, const PairModel& model,
                         const Tensor& query, const Tensor& hidden,
                         float* scores) {
    const int64_t num_items = hidden.dim_size(1);
    const StateType type = TypeOf(hidden.dtype());
    const int64_t item_bytes = tensorflow::DataTypeSize(hidden.dtype());
    const char* const queries = query.tensor_data().data();
    const char* const hiddens = hidden.tensor_data().data();
    const auto score = [&](int64_t begin, int64_t end) {
      const PairItems items = {
          type, queries + begin * model.query_width * item_bytes,
          hiddens + begin * model.width * item_bytes, end - begin};
      ScorePairs(model, items, FloatMemory(PairScratchSize(model)),
                 scores + begin);
    };
    const auto& workers = *context->device()->tensorflow_cpu_worker_threads();
    if (num_items < 2 * kShardItems || workers.num_threads < 2) {
      score(0, num_items);
      return;
    }
    workers.workers->ParallelFor(
        num_items,
        tensorflow::thread::ThreadPool::SchedulingParams::Fixed(kShardItems),
        score);
  }
};

REGISTER_KERNEL_BUILDER(Name("Nann>PairScore").Device(tensorflow::DEVICE_CPU),
                        PairScoreOp);

}  // namespace
}  // namespace nann
