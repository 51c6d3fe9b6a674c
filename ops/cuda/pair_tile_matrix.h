// Scores of pairs with the matrix units of a GPU: products of float16 or
// bfloat16 numbers, sums in float32. Each warp takes kMatrixRows rows through
// all layers on its own; nothing waits for another warp.

#ifndef NANN_OPS_CUDA_PAIR_TILE_MATRIX_H_
#define NANN_OPS_CUDA_PAIR_TILE_MATRIX_H_

#include <cstdint>

#include "ops/cuda/pair_model.h"

namespace nann {

constexpr int32_t kMatrixRows = 16;
constexpr int32_t kMatrixWarps = kTileRows / kMatrixRows;
constexpr int32_t kMatrixThreads = kMatrixWarps * kWarp;
// Matrices of 16 columns whose sums a warp holds at once.
constexpr int32_t kSums = 4;
constexpr int32_t kLanesOfMatrixRow = kWarp / kMatrixRows;

// Numbers from one row to the next, such that rows lie in different banks.
__host__ __device__ inline int32_t SumStride(int32_t widest) {
  return widest + 4;
}
__host__ __device__ inline int32_t FactorStride(int32_t widest) {
  return widest + 8;
}

// Of a warp: its sums, the factors of its next product, and its rows.
__host__ __device__ inline int64_t MatrixBytesOfWarp(int32_t widest) {
  return kMatrixRows * (int64_t{4} * SumStride(widest) +
                        int64_t{2} * FactorStride(widest) + 8);
}

// sums = factors kernel, where `kernel` is [inputs, outputs] in global memory.
template <typename T>
__device__ inline void MultiplyMatrix(const T* factors, int32_t factor_stride,
                                      const T* kernel, int32_t inputs,
                                      int32_t outputs, float* sums,
                                      int32_t sum_stride) {
  using namespace nvcuda;  // NOLINT: the names of matrices.
  for (int32_t first = 0; first < outputs; first += kSums * 16) {
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> parts[kSums];
#pragma unroll
    for (int i = 0; i < kSums; ++i) wmma::fill_fragment(parts[i], 0.0f);
    for (int32_t k = 0; k < inputs; k += 16) {
      wmma::fragment<wmma::matrix_a, 16, 16, 16, T, wmma::row_major> a;
      wmma::load_matrix_sync(a, factors + k, factor_stride);
#pragma unroll
      for (int i = 0; i < kSums; ++i) {
        if (first + 16 * i < outputs) {
          wmma::fragment<wmma::matrix_b, 16, 16, 16, T, wmma::row_major> b;
          wmma::load_matrix_sync(b, kernel + k * outputs + first + 16 * i,
                                 outputs);
          wmma::mma_sync(parts[i], a, b, parts[i]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kSums; ++i) {
      if (first + 16 * i < outputs) {
        wmma::store_matrix_sync(sums + first + 16 * i, parts[i], sum_stride,
                                wmma::mem_row_major);
      }
    }
  }
  __syncwarp();
}

// Turns logits into weights that add up to 1.
template <typename T>
__device__ inline void SoftmaxOfWarp(const float* logits, int32_t sum_stride,
                                     const float* bias, int32_t length,
                                     T* weights, int32_t factor_stride) {
  const int32_t lane = threadIdx.x % kWarp;
  const int32_t row = lane / kLanesOfMatrixRow;
  const float* const own = logits + row * sum_stride;
  float largest = -INFINITY;
  for (int32_t i = lane % kLanesOfMatrixRow; i < length;
       i += kLanesOfMatrixRow) {
    largest = fmaxf(largest, own[i] + bias[i]);
  }
  largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
  float sum = 0;
  for (int32_t i = lane % kLanesOfMatrixRow; i < length;
       i += kLanesOfMatrixRow) {
    sum += expf(own[i] + bias[i] - largest);
  }
  sum += __shfl_xor_sync(kAllLanes, sum, 1);
  const float scale = 1 / sum;
  for (int32_t i = lane % kLanesOfMatrixRow; i < length;
       i += kLanesOfMatrixRow) {
    weights[row * factor_stride + i] =
        FromFloat<T>(expf(own[i] + bias[i] - largest) * scale);
  }
  __syncwarp();
}

// Scores kMatrixRows rows of a tile, from `first` on, by a warp.
template <typename T, typename Rows>
__device__ inline void ScoreMatrix(const DevicePairs<T, T>& model,
                                   const Rows& rows, const Tile& tile,
                                   int32_t first, int32_t number) {
  const int32_t sum_stride = SumStride(model.widest);
  const int32_t factor_stride = FactorStride(model.widest);
  const int32_t lane = threadIdx.x % kWarp;
  unsigned char* const own =
      SharedMemory() + threadIdx.x / kWarp * MatrixBytesOfWarp(model.widest);
  float* const sums = reinterpret_cast<float*>(own);
  T* const factors = reinterpret_cast<T*>(sums + kMatrixRows * sum_stride);
  int64_t* const items =
      reinterpret_cast<int64_t*>(factors + kMatrixRows * factor_stride);
  if (lane < kMatrixRows) {
    // Beyond the end the last row again.
    items[lane] = rows.row(tile, first + (lane < number ? lane : number - 1));
  }
  __syncwarp();
  const int64_t user = tile.query;
  if (model.query_width > 0) {
    const int32_t groups = model.query_width / 8;
    for (int32_t i = lane; i < kMatrixRows * groups; i += kWarp) {
      const int32_t row = i / groups, column = i % groups * 8;
      *reinterpret_cast<Pack<T, 8>*>(factors + row * factor_stride + column) =
          LoadPack<8>(model.item_query + items[row] * model.query_width +
                      column);
    }
    __syncwarp();
    MultiplyMatrix(factors, factor_stride,
                   model.keys + user * model.query_width * model.length,
                   model.query_width, model.length, sums, sum_stride);
    SoftmaxOfWarp(sums, sum_stride, model.key_bias + user * model.length,
                  model.length, factors, factor_stride);
    MultiplyMatrix(factors, factor_stride,
                   model.values + user * model.length * model.width,
                   model.length, model.width, sums, sum_stride);
  }
  const float* const user_hidden = model.user_hidden == nullptr
                                       ? nullptr
                                       : model.user_hidden + user * model.width;
  const int32_t groups = model.width / 4;
  for (int32_t i = lane; i < kMatrixRows * groups; i += kWarp) {
    const int32_t row = i / groups, column = i % groups * 4;
    float hidden[4];
    ToFloats(LoadPack<4>(model.item_hidden + items[row] * model.width + column),
             hidden);
    const float* const slope = model.slope_before(0);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      float* const sum = sums + row * sum_stride + column + c;
      float x = hidden[c];
      if (model.query_width > 0) x += *sum;
      if (user_hidden != nullptr) x += user_hidden[column + c];
      *sum = PRelu(x, slope[column + c]);
      factors[row * factor_stride + column + c] = FromFloat<T>(*sum);
    }
  }
  __syncwarp();
  int32_t width = model.width;
  for (int32_t i = 0; i < model.num_layers; ++i) {
    const DeviceLayer<T>& layer = model.layers[i];
    MultiplyMatrix(factors, factor_stride, layer.kernel, layer.inputs,
                   layer.outputs, sums, sum_stride);
    const float* const slope = model.slope_before(i + 1);
    width = layer.outputs;
    for (int32_t j = lane; j < kMatrixRows * width; j += kWarp) {
      const int32_t row = j / width, column = j % width;
      float* const x = sums + row * sum_stride + column;
      *x = PRelu(*x + layer.bias[column], slope[column]);
      factors[row * factor_stride + column] = FromFloat<T>(*x);
    }
    __syncwarp();
  }
  const int32_t row = lane / kLanesOfMatrixRow;
  float score = 0;
  for (int32_t i = lane % kLanesOfMatrixRow; i < width;
       i += kLanesOfMatrixRow) {
    score += sums[row * sum_stride + i] * model.out[i];
  }
  score += __shfl_xor_sync(kAllLanes, score, 1);
  if (row < number && lane % kLanesOfMatrixRow == 0) {
    rows.Write(tile, first + row, score);
  }
  __syncwarp();
}

// Scores a tile by a block of kMatrixThreads threads.
template <typename T, typename Rows>
__device__ inline void ScorePairsByMatrix(const DevicePairs<T, T>& model,
                                          const Rows& rows, const Tile& tile) {
  const int32_t first = static_cast<int32_t>(threadIdx.x) / kWarp * kMatrixRows;
  const int32_t left = rows.num_rows(tile) - first;
  if (left <= 0) return;
  ScoreMatrix(model, rows, tile, first,
              left < kMatrixRows ? left : kMatrixRows);
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_PAIR_TILE_MATRIX_H_
