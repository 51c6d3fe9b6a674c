#include "ops/tf/pair_inputs.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "ops/tf/op_inputs.h"

namespace nann {
namespace {

using tensorflow::OpInputList;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;

absl::Status Wrong(const std::string& name, const Tensor& got,
                   const std::string& wanted) {
  return absl::InvalidArgumentError(absl::StrCat(
      name, " has shape ", got.shape().DebugString(), ", wanted ", wanted));
}

bool IsWide(int64_t width) { return width % kPairLanes == 0; }

const float* Floats(const Tensor& tensor) {
  return tensor.flat<float>().data();
}

absl::Status ReadItems(OpKernelContext* context, PairInputs* inputs) {
  const Tensor &query = context->input(0), &hidden = context->input(1);
  if (hidden.dims() != 3 || !IsWide(hidden.dim_size(2)) ||
      hidden.dim_size(2) < 1) {
    return Wrong("hidden", hidden, "[1 or B, N, W], W a multiple of 16");
  }
  if (query.dims() != 3 || query.dim_size(0) != hidden.dim_size(0) ||
      query.dim_size(1) != hidden.dim_size(1) || !IsWide(query.dim_size(2))) {
    return Wrong("query", query,
                 absl::StrCat("[", hidden.dim_size(0), ", ", hidden.dim_size(1),
                              ", Q], Q a multiple of 16"));
  }
  inputs->model.width = hidden.dim_size(2);
  inputs->model.query_width = query.dim_size(2);
  inputs->type = StateTypeOf(hidden.dtype());
  inputs->query = query.data();
  inputs->hidden = hidden.data();
  inputs->num_items = hidden.dim_size(1);
  return absl::OkStatus();
}

absl::Status ReadLayers(OpKernelContext* context, PairModel* model) {
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
    model->layers.push_back({Floats(slopes[i]), Floats(kernels[i]),
                             Floats(biases[i]), width, outputs});
    width = outputs;
  }
  if (out->dims() != 1 || out->dim_size(0) != width) {
    return Wrong("out", *out, absl::StrCat("[", width, "]"));
  }
  model->last_slope = Floats(slopes[kernels.size()]);
  model->out = Floats(*out);
  return absl::OkStatus();
}

// Reads the inputs that have a row for each user.
absl::Status ReadUsers(OpKernelContext* context, PairInputs* inputs) {
  PairModel* const model = &inputs->model;
  const Tensor &keys = context->input(2), &key_bias = context->input(3);
  const Tensor &values = context->input(4), &user_hidden = context->input(5);
  if (keys.dims() != 3 || keys.dim_size(1) != model->query_width ||
      !IsWide(keys.dim_size(2)) ||
      (model->query_width > 0 && keys.dim_size(2) < 1)) {
    return Wrong(
        "keys", keys,
        absl::StrCat("[B, ", model->query_width, ", P], P a multiple of 16"));
  }
  const int64_t num_users = keys.dim_size(0);
  const int64_t padded = keys.dim_size(2);
  if (key_bias.dims() != 2 || key_bias.dim_size(0) != num_users ||
      key_bias.dim_size(1) != padded) {
    return Wrong("key_bias", key_bias,
                 absl::StrCat("[", num_users, ", ", padded, "]"));
  }
  if (values.dims() != 3 || values.dim_size(0) != num_users ||
      values.dim_size(1) > padded || values.dim_size(2) != model->width) {
    return Wrong("values", values,
                 absl::StrCat("[", num_users, ", at most ", padded, ", ",
                              model->width, "]"));
  }
  if (user_hidden.dims() != 2 || user_hidden.dim_size(0) != num_users ||
      (user_hidden.dim_size(1) != 0 &&
       user_hidden.dim_size(1) != model->width)) {
    return Wrong("user_hidden", user_hidden,
                 absl::StrCat("[", num_users, ", ", model->width, " or 0]"));
  }
  const Tensor& hidden = context->input(1);
  if (hidden.dim_size(0) != 1 && hidden.dim_size(0) != num_users) {
    return Wrong("hidden", hidden,
                 absl::StrCat("1 or ", num_users, " groups of items"));
  }
  inputs->num_users = num_users;
  inputs->has_items_per_user = hidden.dim_size(0) != 1;
  model->padded_length = model->key_stride = padded;
  model->length = values.dim_size(1);
  model->keys = Floats(keys);
  model->key_bias = Floats(key_bias);
  model->values = Floats(values);
  model->user_hidden =
      user_hidden.dim_size(1) > 0 ? Floats(user_hidden) : nullptr;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadPairInputs(OpKernelContext* context, PairInputs* inputs) {
  TF_RETURN_IF_ERROR(ReadItems(context, inputs));
  TF_RETURN_IF_ERROR(ReadLayers(context, &inputs->model));
  return ReadUsers(context, inputs);
}

}  // namespace nann
