// The pair part of a scorer that is a sum of terms, in one pass over the items.
//
//   s     = vector user_vector + bias + attention + category
//   attention = (softmax(bound(query keys) + key_logits) values) reply
//   category  = sum of the weights of the positions with the item's category
//   mass      = sum of the masses of the positions with the item itself
//   score = log(exp(s) + mass),  bound(x) = max_logit tanh(x / max_logit)
//
// What nann/model/nann_plus.py says in TensorFlow ops.

#ifndef NANN_OPS_CORE_TERM_SCORER_H_
#define NANN_OPS_CORE_TERM_SCORER_H_

#include <cstdint>

#include "ops/core/state_type.h"

namespace nann {

constexpr int64_t kTermLanes = 16;

// A user's state. The kernels read arrays whose lengths are multiples of
// kTermLanes: see LayOut.
struct TermUser {
  int64_t width = 0;
  const float* vector = nullptr;  // [width]

  // Attention; query_width, a multiple of kTermLanes, is 0: none.
  int64_t query_width = 0;
  int64_t length = 0;
  int64_t padded_length = 0;
  const float* keys = nullptr;        // [query_width, padded_length]
  const float* key_logits = nullptr;  // [padded_length]
  const float* values = nullptr;      // [length, query_width]
  float max_logit = 1.0f;

  // What is said of an item by its ids; num_ids 0: nothing.
  int64_t num_ids = 0;
  const int32_t* category_ids = nullptr;    // [num_ids]
  const float* category_weights = nullptr;  // [num_ids]
  const int32_t* item_ids = nullptr;        // [num_ids]
  const float* repeat_mass = nullptr;       // [num_ids]
};

// State of n items, row after row.
struct TermItems {
  StateType type = StateType::kFloat32;
  const void* vector = nullptr;           // [n, width]
  const void* bias = nullptr;             // [n]
  const void* query = nullptr;            // [n, query_width]
  const void* reply = nullptr;            // [n, query_width]
  const int32_t* category_ids = nullptr;  // [n], read if num_ids > 0.
  const int32_t* item_ids = nullptr;      // Likewise.
  int64_t n = 0;
};

// Floats of working memory that ScoreTerms wants for n items.
int64_t TermScratchSize(const TermUser& user, int64_t n);

// Writes n scores. `user` has arrays of any length, with padded_length equal to
// length; positions at the end with key logits of -1e8 or less are padding and
// left out, all but the first. `scratch` is aligned to 64 bytes.
void ScoreTerms(const TermUser& user, const TermItems& items, float* scratch,
                float* scores);

}  // namespace nann

#endif  // NANN_OPS_CORE_TERM_SCORER_H_
