#include "ops/core/term_scorer.h"

#include <algorithm>
#include <cmath>

#include "ops/core/kernels/kernels.h"

namespace nann {
namespace {

constexpr float kMaskedLogit = -1e8f;

int64_t Padded(int64_t n) {
  return (n + kTermLanes - 1) / kTermLanes * kTermLanes;
}

// Copies `size` elements to the room and fills it up to `padded`.
template <typename T>
const T* Copy(const T* from, int64_t size, int64_t padded, T fill,
              float** room) {
  static_assert(sizeof(T) == sizeof(float), "the room is counted in floats");
  T* const to = reinterpret_cast<T*>(*room);
  *room += padded;
  std::fill(std::copy(from, from + size, to), to + padded, fill);
  return to;
}

// Returns the user with arrays in the room whose lengths are multiples of
// kTermLanes, without the padding at the end.
TermUser LayOut(const TermUser& user, float** room) {
  TermUser laid = user;
  if (user.query_width == 0) laid.length = 0;
  while (laid.length > 1 && user.key_logits[laid.length - 1] <= kMaskedLogit) {
    --laid.length;
  }
  laid.padded_length = Padded(laid.length);
  laid.keys = *room;
  for (int64_t i = 0; i < user.query_width; ++i) {
    Copy(user.keys + i * user.padded_length, laid.length, laid.padded_length,
         0.0f, room);
  }
  laid.key_logits = Copy(user.key_logits, laid.length, laid.padded_length,
                         10 * kMaskedLogit, room);
  const int64_t number = user.num_ids;
  laid.num_ids = Padded(number);
  laid.category_ids = Copy(user.category_ids, number, laid.num_ids, 0, room);
  laid.category_weights =
      Copy(user.category_weights, number, laid.num_ids, 0.0f, room);
  laid.item_ids = Copy(user.item_ids, number, laid.num_ids, 0, room);
  laid.repeat_mass = Copy(user.repeat_mass, number, laid.num_ids, 0.0f, room);
  return laid;
}

// Returns log(exp(a) + exp(b)); no number where one of them is none.
float LogAddExp(float a, float b) {
  return a > b ? a + std::log1p(std::exp(b - a))
               : b + std::log1p(std::exp(a - b));
}

// Floats that a kernel works with: an item's vector, or of a block of rows the
// weights, the answers, and query or reply.
int64_t KernelScratchSize(const TermUser& user) {
  const int64_t of_row = Padded(user.length) + 2 * user.query_width;
  return std::max(Padded(user.width), kPairBlock * of_row);
}

}  // namespace

int64_t TermScratchSize(const TermUser& user, int64_t n) {
  return KernelScratchSize(user) +
         (user.query_width + 1) * Padded(user.length) +
         4 * Padded(user.num_ids) + n;
}

void ScoreTerms(const TermUser& user, const TermItems& items, float* scratch,
                float* scores) {
  float* room = scratch + KernelScratchSize(user);
  const TermUser laid = LayOut(user, &room);
  float* const masses = room;
  BestKernels().score_terms(laid, items, scratch, scores, masses);
  if (laid.num_ids == 0) return;
  // Few items are in the history.
  for (int64_t i = 0; i < items.n; ++i) {
    if (masses[i] > 0) scores[i] = LogAddExp(scores[i], std::log(masses[i]));
  }
}

}  // namespace nann
