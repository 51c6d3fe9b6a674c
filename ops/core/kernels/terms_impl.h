// The kernel of terms (ops/core/term_scorer.h); a part of kernels_impl.h,
// included inside its namespace. No include guard on purpose.

// Returns max_logit tanh(x / max_logit).
inline Vector Bounded(Vector x, float max_logit) {
  const Vector zero = {};
  const Vector decay = Exp((x < zero ? x : -x) * Broadcast(2 / max_logit));
  const Vector size = max_logit * (1.0f - decay) / (1.0f + decay);
  return x < zero ? -size : size;
}

// Adds up the weights of the positions with some id; a weight that is not a
// number counts for every id, as in a product with a one or a zero.
inline float WeightOf(int32_t id, const int32_t* ids, const float* weights,
                      int64_t n) {
  const Integers wanted = id - Integers{};
  const Vector one = Broadcast(1.0f), zero = {};
  Vector sum = {};
  for (int64_t i = 0; i < n; i += kLanes) {
    Integers here;
    std::memcpy(&here, ids + i, sizeof(here));
    sum += (here == wanted ? one : zero) * Load(weights + i);
  }
  return Sum(sum);
}

// Adds the attention of some rows to their scores.
inline void AddAttention(const TermUser& user, const TermItems& items,
                         int64_t begin, int64_t rows, float* room,
                         float* scores) {
  const int64_t width = user.query_width;
  float* const weights = room;
  float* const answers = weights + kPairBlock * user.padded_length;
  float* const item_room = answers + kPairBlock * width;
  const auto zero = [](int64_t) { return Vector{}; };
  const float* const query =
      ToFloats(items.type, items.query, begin * width, rows * width, item_room);
  Multiply(query, width, user.keys, user.padded_length, width, weights,
           user.padded_length, rows, zero,
           [&](Vector x, int64_t, int64_t column) {
             return Bounded(x, user.max_logit) + Load(user.key_logits + column);
           });
  float scales[kPairBlock];
  Softmax(weights, user.padded_length, rows, scales);
  Multiply(weights, user.padded_length, user.values, width, user.length,
           answers, width, rows, zero,
           [](Vector x, int64_t, int64_t) { return x; });
  const float* const reply =
      ToFloats(items.type, items.reply, begin * width, rows * width, item_room);
  for (int64_t row = 0; row < rows; ++row) {
    scores[begin + row] +=
        scales[row] * ScoreOne<InnerProduct>(reply + row * width,
                                             answers + row * width, width);
  }
}

void ScoreTerms(const TermUser& user, const TermItems& items, float* scratch,
                float* scores, float* masses) {
  for (int64_t begin = 0; begin < items.n; begin += kPairBlock) {
    const int64_t left = items.n - begin;
    const int64_t rows = left < kPairBlock ? left : kPairBlock;
    for (int64_t i = begin; i < begin + rows; ++i) {
      float bias_room;
      const float bias = *ToFloats(items.type, items.bias, i, 1, &bias_room);
      const float* const vector = ToFloats(items.type, items.vector,
                                           i * user.width, user.width, scratch);
      scores[i] =
          bias + ScoreOne<InnerProduct>(vector, user.vector, user.width);
    }
    if (user.length > 0) {
      AddAttention(user, items, begin, rows, scratch, scores);
    }
    if (user.num_ids == 0) continue;
    for (int64_t i = begin; i < begin + rows; ++i) {
      scores[i] += WeightOf(items.category_ids[i], user.category_ids,
                            user.category_weights, user.num_ids);
      masses[i] = WeightOf(items.item_ids[i], user.item_ids, user.repeat_mass,
                           user.num_ids);
    }
  }
}
