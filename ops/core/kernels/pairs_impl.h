// The kernel of pairs (ops/core/pair_scorer.h); a part of kernels_impl.h,
// included inside its namespace. No include guard on purpose.

typedef int32_t Integers __attribute__((vector_size(NANN_VECTOR_BYTES)));

// e^x for x <= 0, to about one unit in the last place.
// Source: Cephes expf: 2^n times a polynomial in the remainder.
inline Vector Exp(Vector x) {
  const Vector lowest = Broadcast(-87.0f);
  x = x < lowest ? lowest : x;
  const Vector shift = Broadcast(12582912.0f);  // 1.5 * 2^23: rounds.
  const Vector rounded = x * 1.44269504f + shift;
  const Vector n = rounded - shift;
  Vector r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vector p = Broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // The low bits of `rounded` are n: added to the exponent.
  const Integers exponent = (Integers)rounded << 23;
  return (Vector)((Integers)p + exponent);
}

inline Vector Larger(Vector a, Vector b) { return a > b ? a : b; }

inline float LargestLane(Vector vector) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)vector);
#endif
  float lanes[kLanes];
  Store(vector, lanes);
  float largest = lanes[0];
  for (int64_t i = 1; i < kLanes; ++i) {
    largest = lanes[i] > largest ? lanes[i] : largest;
  }
  return largest;
}

// Turns rows of n logits, a multiple of kLanes, into weights; scales[row] times
// them add up to 1. In passes, so that the rows do not wait for one another.
inline void Softmax(float* values, int64_t n, int64_t num_rows, float* scales) {
  for (int64_t row = 0; row < num_rows; ++row) {
    Vector largest = Load(values + row * n);
    for (int64_t i = kLanes; i < n; i += kLanes) {
      largest = Larger(largest, Load(values + row * n + i));
    }
    scales[row] = LargestLane(largest);
  }
  for (int64_t row = 0; row < num_rows; ++row) {
    const Vector largest = Broadcast(scales[row]);
    Vector sum = {};
    for (int64_t i = 0; i < n; i += kLanes) {
      const Vector weight = Exp(Load(values + row * n + i) - largest);
      Store(weight, values + row * n + i);
      sum += weight;
    }
    scales[row] = Sum(sum);
  }
  for (int64_t row = 0; row < num_rows; ++row) scales[row] = 1 / scales[row];
}

inline Vector PRelu(Vector x, const float* slope) {
  const Vector zero = {};
  return x > zero ? x : x * Load(slope);
}

// Turns a number of IEEE half precision into a float.
inline float HalfToFloat(uint16_t half) {
  // Moves exponent and mantissa into place and corrects the bias by a
  // multiplication, which is right for subnormal numbers too.
  const uint32_t magnitude = uint32_t{half} & 0x7fff;
  uint32_t bits = magnitude << 13;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  value *= 5.192296858534828e33f;  // 2^112
  if (magnitude >= 0x7c00) {
    bits |= 0x7f800000;
    std::memcpy(&value, &bits, sizeof(value));
  }
  return half & 0x8000 ? -value : value;
}

// A bfloat16 is the upper half of a float.
inline float Bfloat16ToFloat(uint16_t half) {
  const uint32_t bits = uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Turns kLanes numbers of IEEE half precision into floats.
inline void HalvesToFloats(const uint16_t* from, float* to) {
#if defined(__AVX512F__)
  const __m256i halves =
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  Store((Vector)_mm512_cvtph_ps(halves), to);
#elif defined(__F16C__) && defined(__AVX2__)
  const __m128i halves =
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  Store((Vector)_mm256_cvtph_ps(halves), to);
#else
  for (int64_t i = 0; i < kLanes; ++i) to[i] = HalfToFloat(from[i]);
#endif
}

// Returns `size` numbers of a state as floats: where they lie, or in `room`.
inline const float* ToFloats(StateType type, const void* from, int64_t offset,
                             int64_t size, float* room) {
  if (type == StateType::kFloat32) {
    return static_cast<const float*>(from) + offset;
  }
  const uint16_t* const halves = static_cast<const uint16_t*>(from) + offset;
  if (type == StateType::kBfloat16) {
    for (int64_t i = 0; i < size; ++i) room[i] = Bfloat16ToFloat(halves[i]);
    return room;
  }
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) HalvesToFloats(halves + i, room + i);
  for (; i < size; ++i) room[i] = HalfToFloat(halves[i]);
  return room;
}

void ScorePairs(const PairModel& model, const PairItems& items, float* scratch,
                float* scores) {
  const int64_t width = model.width;
  float* const query_room = scratch;
  float* const weights = query_room + kPairBlock * model.query_width;
  float* const hidden_room = weights + kPairBlock * model.padded_length;
  float* const first = hidden_room + kPairBlock * width;
  int64_t widest = width;
  for (const PairLayer& layer : model.layers) {
    widest = layer.outputs > widest ? layer.outputs : widest;
  }
  float* const second = first + kPairBlock * widest;
  const float* const first_slope =
      model.layers.empty() ? model.last_slope : model.layers[0].slope;

  float scales[kPairBlock] = {};

  for (int64_t begin = 0; begin < items.n; begin += kPairBlock) {
    const int64_t left = items.n - begin;
    const int64_t rows = left < kPairBlock ? left : kPairBlock;
    const float* const hidden = ToFloats(
        items.type, items.hidden, begin * width, rows * width, hidden_room);
    if (model.query_width > 0) {
      const float* const query =
          ToFloats(items.type, items.query, begin * model.query_width,
                   rows * model.query_width, query_room);
      Multiply(
          query, model.query_width, model.keys, model.key_stride,
          model.query_width, weights, model.padded_length, rows,
          [&](int64_t column) { return Load(model.key_bias + column); },
          [](Vector x, int64_t, int64_t) { return x; });
      Softmax(weights, model.padded_length, rows, scales);
    }
    Multiply(
        weights, model.padded_length, model.values, width,
        model.query_width > 0 ? model.length : 0, first, width, rows,
        [](int64_t) { return Vector{}; },
        [&](Vector x, int64_t row, int64_t column) {
          x = x * Broadcast(scales[row]) + Load(hidden + row * width + column);
          if (model.user_hidden != nullptr) {
            x += Load(model.user_hidden + column);
          }
          return PRelu(x, first_slope + column);
        });

    float* from = first;
    float* to = second;
    int64_t inputs = width;
    for (size_t i = 0; i < model.layers.size(); ++i) {
      const PairLayer& layer = model.layers[i];
      const float* const slope = i + 1 < model.layers.size()
                                     ? model.layers[i + 1].slope
                                     : model.last_slope;
      Multiply(
          from, inputs, layer.kernel, layer.outputs, inputs, to, layer.outputs,
          rows, [&](int64_t column) { return Load(layer.bias + column); },
          [&](Vector x, int64_t, int64_t column) {
            return PRelu(x, slope + column);
          });
      float* const swapped = from;
      from = to;
      to = swapped;
      inputs = layer.outputs;
    }
    for (int64_t row = 0; row < rows; ++row) {
      scores[begin + row] =
          ScoreOne<InnerProduct>(model.out, from + row * inputs, inputs);
    }
  }
}
