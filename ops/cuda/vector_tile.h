// Scores of vectors: minus the squared Euclidean distance, or the inner
// product.

#ifndef NANN_OPS_CUDA_VECTOR_TILE_H_
#define NANN_OPS_CUDA_VECTOR_TILE_H_

#include <cstdint>

#include "ops/cuda/numbers.h"
#include "ops/cuda/scoring.h"

namespace nann {

// A table of vectors and a query for each user.
template <typename T>
struct VectorTable {
  const T* rows;         // [I, width]
  const float* queries;  // [B, width]
  int64_t width;
  bool is_l2;
};

// Lanes that score a row together; eight of them read 128 bytes at once.
constexpr int kRowLanes = 8;

// Scores one row by kRowLanes lanes; all of them get the score. Numbers are
// read kAtOnce at a time, which `width` is a multiple of.
template <int kAtOnce, typename T>
__device__ inline float ScoreVector(const VectorTable<T>& table, int64_t row,
                                    int64_t query) {
  const T* const vector = table.rows + row * table.width;
  const float* const wanted = table.queries + query * table.width;
  float sum = 0;
  for (int64_t i = threadIdx.x % kRowLanes * kAtOnce; i < table.width;
       i += kRowLanes * kAtOnce) {
    const Pack<T, kAtOnce> a = LoadPack<kAtOnce>(vector + i);
    const Pack<float, kAtOnce> b = LoadPack<kAtOnce>(wanted + i);
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const float x = ToFloat(a.values[j]);
      const float difference = x - b.values[j];
      sum += table.is_l2 ? -difference * difference : x * b.values[j];
    }
  }
  for (int mask = kRowLanes / 2; mask > 0; mask /= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, mask);
  }
  return sum;
}

template <typename T>
__device__ inline float ScoreVector(const VectorTable<T>& table, int64_t row,
                                    int64_t query) {
  if (table.width % 4 == 0) return ScoreVector<4>(table, row, query);
  return ScoreVector<1>(table, row, query);
}

// Scores a tile by all threads of a block.
template <typename T, typename Rows>
__device__ inline void ScoreVectors(const VectorTable<T>& table,
                                    const Rows& rows, const Tile& tile) {
  const int32_t number = rows.num_rows(tile);
  const int32_t at_once = blockDim.x / kRowLanes;
  for (int32_t first = 0; first < number; first += at_once) {
    const int32_t i = first + threadIdx.x / kRowLanes;
    // All lanes take part in the sums; those beyond the end score again.
    const int32_t place = i < number ? i : number - 1;
    const float score = ScoreVector(table, rows.row(tile, place), tile.query);
    if (i < number && threadIdx.x % kRowLanes == 0) rows.Write(tile, i, score);
  }
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_VECTOR_TILE_H_
