// The user's side of an attention scorer: a history laid out for the pair
// scorer (pair_scorer.h), which reads keys by column and values by row.
//
//   hidden   = prelu(first embedding + first_bias, slope)
//   keys     = second hidden + second_bias, the last row being the key bias
//   values   = embedding values_kernel
//
// What nann/model/attention.py says in TensorFlow ops.

#ifndef NANN_OPS_CORE_PAIR_USER_H_
#define NANN_OPS_CORE_PAIR_USER_H_

#include <cstdint>

namespace nann {

// The weights. `width` is a multiple of kPairLanes.
struct PairUserModel {
  int64_t inputs = 0;                  // Of an embedding.
  int64_t hidden = 0;                  // Of the layer between.
  int64_t query_width = 0;             // Of the keys.
  int64_t width = 0;                   // Of the values.
  const float* first = nullptr;        // [hidden, inputs]
  const float* first_bias = nullptr;   // [hidden]
  const float* slope = nullptr;        // [hidden]
  const float* second = nullptr;       // [query_width + 1, hidden]
  const float* second_bias = nullptr;  // [query_width + 1]
  const float* values = nullptr;       // [inputs, width]
};

// One user. `padded_length`, a multiple of kPairLanes, is at least `length`.
struct PairHistory {
  const float* embedding = nullptr;  // [length, inputs]
  int64_t length = 0;
  int64_t padded_length = 0;
};

// Where the result goes.
struct PairKeys {
  float* keys = nullptr;    // [query_width, padded_length]
  float* bias = nullptr;    // [padded_length]
  float* values = nullptr;  // [length, width]
};

// Returns whether a position is taken: padding is all zero.
bool IsTaken(const float* embedding, int64_t inputs);

// Floats of working memory that MakePairKeys wants.
int64_t PairUserScratchSize(const PairUserModel& model, int64_t padded_length);

// Lays a history out. Positions beyond it, and with `mask_padding` those that
// are not taken, get a very low bias. `scratch` is aligned to 64 bytes.
void MakePairKeys(const PairUserModel& model, const PairHistory& history,
                  bool mask_padding, float* scratch, const PairKeys& result);

}  // namespace nann

#endif  // NANN_OPS_CORE_PAIR_USER_H_
