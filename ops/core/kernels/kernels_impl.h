// The source of all kernels. Included once by each kernels_<set>.cc, inside a
// namespace of its own, with
//   NANN_VECTOR_BYTES  size of a vector register.
// No include guard on purpose.

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "ops/core/kernels/kernels.h"
#include "ops/core/pair_scorer.h"
#include "ops/core/pair_user.h"
#include "ops/core/term_scorer.h"

namespace nann {
namespace NANN_KERNELS_NAMESPACE {
namespace {

template <int number>
struct Number {
  static constexpr int value = number;
};

constexpr int64_t kLanes = NANN_VECTOR_BYTES / sizeof(float);

typedef float Vector __attribute__((vector_size(NANN_VECTOR_BYTES)));

inline Vector Load(const float* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

// Adds up the lanes, halving the vector until one is left.
template <int64_t lanes>
inline float SumOf(const float* values) {
  typedef float Half __attribute__((vector_size(lanes / 2 * sizeof(float))));
  Half low, high;
  std::memcpy(&low, values, sizeof(low));
  std::memcpy(&high, values + lanes / 2, sizeof(high));
  low += high;
  return SumOf<lanes / 2>(reinterpret_cast<const float*>(&low));
}

template <>
inline float SumOf<2>(const float* values) {
  return values[0] + values[1];
}

inline float Sum(Vector vector) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)vector);
#endif
  return SumOf<kLanes>(reinterpret_cast<const float*>(&vector));
}

struct L2 {
  static Vector Add(Vector sum, Vector a, Vector b) {
    const Vector difference = a - b;
    return sum - difference * difference;
  }
  static float Add(float sum, float a, float b) {
    return sum - (a - b) * (a - b);
  }
};

struct InnerProduct {
  static Vector Add(Vector sum, Vector a, Vector b) { return sum + a * b; }
  static float Add(float sum, float a, float b) { return sum + a * b; }
};

template <typename Metric>
inline float ScoreOne(const float* query, const float* vector, int64_t d) {
  Vector sum[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= d; i += 2 * kLanes) {
    sum[0] = Metric::Add(sum[0], Load(query + i), Load(vector + i));
    sum[1] = Metric::Add(sum[1], Load(query + i + kLanes),
                         Load(vector + i + kLanes));
  }
  float rest = 0.0f;
  for (; i < d; ++i) rest = Metric::Add(rest, query[i], vector[i]);
  return Sum(sum[0] + sum[1]) + rest;
}

template <typename Metric>
void ScoreRows(const float* query, const float* table, int64_t d,
               const int32_t* rows, int64_t n, float* scores) {
  for (int64_t i = 0; i < n; ++i) {
    scores[i] = ScoreOne<Metric>(query, table + rows[i] * d, d);
  }
}

#include "ops/core/kernels/codes_impl.h"

// ---- Pair scorer ----

// The widest tile of a matrix product, in vectors, and the registers that hold
// the sums of a tile.
#if defined(__AVX512F__)
constexpr int kTileVectors = 4;
constexpr int kTileSums = 24;
#elif defined(__AVX2__)
constexpr int kTileVectors = 2;
constexpr int kTileSums = 12;
#else
constexpr int kTileVectors = 2;
constexpr int kTileSums = 8;
#endif

inline void Store(Vector vector, float* to) {
  std::memcpy(to, &vector, sizeof(vector));
}

inline Vector Broadcast(float value) { return value - Vector{}; }

// c[r, :] = start(:) + a[r, :] b, then `finish`, for some rows of c.
template <int rows, int vectors, typename Start, typename Finish>
inline void MultiplyRows(const float* a, int64_t a_stride, const float* b,
                         int64_t b_stride, int64_t depth, float* c,
                         int64_t c_stride, int64_t first_row, int64_t column,
                         const Start& start, const Finish& finish) {
  Vector sums[rows][vectors];
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) sums[r][v] = start(column + v * kLanes);
  }
  // A pointer for three rows: one for each would be more than there are
  // registers.
  constexpr int kPointers = (rows + 2) / 3;
  const float* rows_of_a[kPointers];
  for (int p = 0; p < kPointers; ++p) {
    rows_of_a[p] = a + (first_row + 3 * p) * a_stride;
  }
  const float* row_of_b = b + column;
  for (int64_t i = 0; i < depth; ++i) {
    Vector of_b[vectors];
    for (int v = 0; v < vectors; ++v) of_b[v] = Load(row_of_b + v * kLanes);
    row_of_b += b_stride;
    for (int r = 0; r < rows; ++r) {
      const Vector of_a = Broadcast(rows_of_a[r / 3][r % 3 * a_stride]);
      for (int v = 0; v < vectors; ++v) sums[r][v] += of_a * of_b[v];
    }
    for (int p = 0; p < kPointers; ++p) ++rows_of_a[p];
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      Store(finish(sums[r][v], first_row + r, column + v * kLanes),
            c + (first_row + r) * c_stride + column + v * kLanes);
    }
  }
}

template <int vectors, typename Start, typename Finish>
inline void MultiplyColumns(const float* a, int64_t a_stride, const float* b,
                            int64_t b_stride, int64_t depth, float* c,
                            int64_t c_stride, int64_t num_rows, int64_t column,
                            const Start& start, const Finish& finish) {
  constexpr int kRows = kTileSums / (vectors > 1 ? vectors : 2);
  constexpr int kHalf = kRows / 2;
  int64_t row = 0;
  for (; row + kRows <= num_rows; row += kRows) {
    MultiplyRows<kRows, vectors>(a, a_stride, b, b_stride, depth, c, c_stride,
                                 row, column, start, finish);
  }
  for (; row + kHalf <= num_rows; row += kHalf) {
    MultiplyRows<kHalf, vectors>(a, a_stride, b, b_stride, depth, c, c_stride,
                                 row, column, start, finish);
  }
  for (; row < num_rows; ++row) {
    MultiplyRows<1, vectors>(a, a_stride, b, b_stride, depth, c, c_stride, row,
                             column, start, finish);
  }
}

// c [num_rows, width] = finish(start + a [num_rows, depth] b [depth, width]).
template <typename Start, typename Finish>
inline void Multiply(const float* a, int64_t a_stride, const float* b,
                     int64_t b_stride, int64_t depth, float* c, int64_t width,
                     int64_t num_rows, const Start& start,
                     const Finish& finish) {
  constexpr int64_t kTileColumns = kTileVectors * kLanes;
  int64_t column = 0;
  const auto columns = [&](auto vectors) {
    MultiplyColumns<decltype(vectors)::value>(a, a_stride, b, b_stride, depth,
                                              c, width, num_rows, column, start,
                                              finish);
    column += decltype(vectors)::value * kLanes;
  };
  while (column + kTileColumns <= width) columns(Number<kTileVectors>());
  const int64_t left = (width - column) / kLanes;
  if (kTileVectors > 3 && left == 3) columns(Number<3>());
  if (kTileVectors > 2 && left == 2) columns(Number<2>());
  if (left == 1) columns(Number<1>());
}

#include "ops/core/kernels/pair_user_impl.h"
#include "ops/core/kernels/pairs_impl.h"
#include "ops/core/kernels/terms_impl.h"

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {
    NANN_KERNELS_NAME, ScoreRows<L2>, ScoreRows<InnerProduct>,
    ScoreCodesL2,      ScoreCodesIp,  ScorePairs,
    MakePairKeys,      ScoreTerms,
};

}  // namespace NANN_KERNELS_NAMESPACE
}  // namespace nann
