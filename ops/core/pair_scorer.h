// The pair part of an attention scorer, in one pass over the items.
//
//   x     = hidden + softmax(query keys + key_bias) values + user_hidden
//   for each layer: x = prelu(x, slope) kernel + bias
//   score = prelu(x, slope) out
//
// What nann/model/attention.py says in TensorFlow ops. Here a few rows go
// through all layers while they lie in the first-level cache.

#ifndef NANN_OPS_CORE_PAIR_SCORER_H_
#define NANN_OPS_CORE_PAIR_SCORER_H_

#include <cstdint>
#include <vector>

#include "ops/core/state_type.h"

namespace nann {

// One dense layer: [inputs, outputs] float32, row-major, and [outputs].
struct PairLayer {
  const float* slope = nullptr;   // [inputs], of the PReLU before it.
  const float* kernel = nullptr;  // [inputs, outputs]
  const float* bias = nullptr;    // [outputs]
  int64_t inputs = 0;
  int64_t outputs = 0;
};

// The user's state and the weights. All widths but `length` are multiples of
// kPairLanes; `length` counts positions, `padded_length` those of the arrays.
struct PairModel {
  // Attention; query_width 0: none.
  int64_t query_width = 0;
  int64_t length = 0;
  int64_t padded_length = 0;        // A multiple of kPairLanes.
  int64_t key_stride = 0;           // From a row of keys to the next.
  const float* keys = nullptr;      // [query_width, padded_length]
  const float* key_bias = nullptr;  // [padded_length]
  const float* values = nullptr;    // [length, width]

  const float* user_hidden = nullptr;  // [width], or null.

  int64_t width = 0;  // Of hidden, and inputs of the first layer.
  std::vector<PairLayer> layers;
  const float* last_slope = nullptr;  // [outputs of the last layer]
  const float* out = nullptr;         // Likewise.
};

constexpr int64_t kPairLanes = 16;

// State of n items, row after row.
struct PairItems {
  StateType type = StateType::kFloat32;
  const void* query = nullptr;   // [n, query_width]
  const void* hidden = nullptr;  // [n, width]
  int64_t n = 0;
};

// Leaves out the positions at the end whose key bias is very low; unless all
// are. The arrays stay as they are.
void LeaveOutPadding(PairModel* model);

// Floats of working memory that ScorePairs wants.
int64_t PairScratchSize(const PairModel& model);

// Writes n scores. `scratch` is aligned to 64 bytes.
void ScorePairs(const PairModel& model, const PairItems& items, float* scratch,
                float* scores);

}  // namespace nann

#endif  // NANN_OPS_CORE_PAIR_SCORER_H_
