// The pair part of an attention scorer on the device, laid out for the kernels.
//
//   x     = hidden + softmax(query keys + key_bias) values + user_hidden
//   for each layer: x = prelu(x, slope) kernel + bias
//   score = prelu(x, slope) out
//
// What ops/core/pair_scorer.h says, for many users at once.

#ifndef NANN_OPS_CUDA_PAIR_MODEL_H_
#define NANN_OPS_CUDA_PAIR_MODEL_H_

#include <cstdint>

#include "ops/cuda/numbers.h"
#include "ops/cuda/scorers.h"
#include "ops/cuda/scoring.h"

namespace nann {

// All widths are multiples of kLanes, and so is the length, after padding.
constexpr int64_t kLanes = 16;

// One dense layer. T is the type in which products are taken.
template <typename T>
struct DeviceLayer {
  const float* slope;  // [inputs], of the PReLU before it.
  const T* kernel;     // [inputs, outputs]
  const float* bias;   // [outputs]
  int32_t inputs;
  int32_t outputs;
};

template <typename S, typename T>
struct DevicePairs {
  const S* item_query;       // [I, query_width]
  const S* item_hidden;      // [I, width]
  const T* keys;             // [B, query_width, length]
  const float* key_bias;     // [B, length]
  const T* values;           // [B, length, width]
  const float* user_hidden;  // [B, width], or null.
  int32_t query_width;       // 0: no attention.
  int32_t length;
  int32_t width;
  int32_t widest;  // Of all that a row is turned into.
  int32_t num_layers;
  DeviceLayer<T> layers[NANN_CUDA_MAX_LAYERS];
  const float* last_slope;
  const float* out;

  __device__ const float* slope_before(int32_t layer) const {
    return layer < num_layers ? layers[layer].slope : last_slope;
  }
};

__device__ inline float PRelu(float x, float slope) {
  return x > 0 ? x : x * slope;
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_PAIR_MODEL_H_
