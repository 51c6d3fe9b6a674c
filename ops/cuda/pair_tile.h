// Scores of pairs in float32, without matrix units: kPassRows rows go through
// all layers while they lie in shared memory. By all threads of a block.

#ifndef NANN_OPS_CUDA_PAIR_TILE_H_
#define NANN_OPS_CUDA_PAIR_TILE_H_

#include <cstdint>

#include "ops/cuda/pair_model.h"

namespace nann {

constexpr int32_t kPassRows = 32;
// Of a block; kPassRows times the lanes that work on a row.
constexpr int32_t kPassThreads = 128;
constexpr int32_t kLanesOfRow = kPassThreads / kPassRows;

// Floats from one row to the next: not a multiple of the number of banks.
__host__ __device__ inline int32_t PassStride(int32_t widest) {
  return widest + 4;
}

// Two buffers of rows, what scales each row, and which rows they are.
__host__ __device__ inline int64_t PassBytes(int32_t widest) {
  return sizeof(float) *
         (2 * int64_t{kPassRows} * PassStride(widest) + 3 * kPassRows);
}

// to[row][column] = finish(row, column, sum), for kRows rows and 4 columns at
// once by each thread. `kernel` is [inputs, outputs] in global memory, small
// enough for the first-level cache.
template <int kRows, typename Finish>
__device__ inline void MultiplyRows(const float* from, int32_t stride,
                                    const float* kernel, int32_t inputs,
                                    int32_t outputs, float* to,
                                    const Finish& finish) {
  const int32_t groups = outputs / 4;
  const int32_t items = groups * (kPassRows / kRows);
  for (int32_t item = threadIdx.x; item < items; item += blockDim.x) {
    const int32_t column = item % groups * 4;
    const int32_t row = item / groups * kRows;
    float sums[kRows][4] = {};
    for (int32_t k = 0; k < inputs; k += 4) {
      Pack<float, 4> weights[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        weights[i] = LoadPack<4>(kernel + (k + i) * outputs + column);
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const Pack<float, 4> x = LoadPack<4>(from + (row + r) * stride + k);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            sums[r][c] += x.values[i] * weights[i].values[c];
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        to[(row + r) * stride + column + c] =
            finish(row + r, column + c, sums[r][c]);
      }
    }
  }
  __syncthreads();
}

template <typename Finish>
__device__ inline void MultiplyRows(const float* from, int32_t stride,
                                    const float* kernel, int32_t inputs,
                                    int32_t outputs, float* to,
                                    const Finish& finish) {
  // So that there is work for all threads.
  if (outputs >= 128) {
    MultiplyRows<8>(from, stride, kernel, inputs, outputs, to, finish);
  } else if (outputs >= 64) {
    MultiplyRows<4>(from, stride, kernel, inputs, outputs, to, finish);
  } else {
    MultiplyRows<2>(from, stride, kernel, inputs, outputs, to, finish);
  }
}

// Turns logits into weights; `scales` of a row times them add up to 1.
__device__ inline void Softmax(float* logits, int32_t stride, int32_t length,
                               float* scales) {
  const int32_t row = threadIdx.x / kLanesOfRow;
  const int32_t lane = threadIdx.x % kLanesOfRow;
  float* const own = logits + row * stride;
  float largest = -INFINITY;
  for (int32_t i = lane; i < length; i += kLanesOfRow) {
    largest = fmaxf(largest, own[i]);
  }
  for (int mask = kLanesOfRow / 2; mask > 0; mask /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, mask));
  }
  float sum = 0;
  for (int32_t i = lane; i < length; i += kLanesOfRow) {
    own[i] = expf(own[i] - largest);
    sum += own[i];
  }
  for (int mask = kLanesOfRow / 2; mask > 0; mask /= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, mask);
  }
  if (lane == 0) scales[row] = 1 / sum;
  __syncthreads();
}

// Scores at most kPassRows rows of a tile, from `first` on.
template <typename S, typename Rows>
__device__ inline void ScorePass(const DevicePairs<S, float>& model,
                                 const Rows& rows, const Tile& tile,
                                 int32_t first, int32_t number) {
  const int32_t stride = PassStride(model.widest);
  float* from = reinterpret_cast<float*>(SharedMemory());
  float* to = from + kPassRows * stride;
  float* const scales = to + kPassRows * stride;
  int64_t* const items = reinterpret_cast<int64_t*>(scales + kPassRows);
  for (int32_t i = threadIdx.x; i < kPassRows; i += blockDim.x) {
    // Beyond the end the last row again.
    items[i] = rows.row(tile, first + (i < number ? i : number - 1));
    scales[i] = 0;
  }
  __syncthreads();
  const int64_t user = tile.query;
  if (model.query_width > 0) {
    const int32_t groups = model.query_width / 4;
    for (int32_t i = threadIdx.x; i < kPassRows * groups; i += blockDim.x) {
      const int32_t row = i / groups, column = i % groups * 4;
      ToFloats(LoadPack<4>(model.item_query + items[row] * model.query_width +
                           column),
               from + row * stride + column);
    }
    __syncthreads();
    const float* const bias = model.key_bias + user * model.length;
    MultiplyRows(
        from, stride, model.keys + user * model.query_width * model.length,
        model.query_width, model.length, to,
        [&](int32_t, int32_t column, float sum) { return sum + bias[column]; });
    Softmax(to, stride, model.length, scales);
  }
  const float* const user_hidden = model.user_hidden == nullptr
                                       ? nullptr
                                       : model.user_hidden + user * model.width;
  const float* slope = model.slope_before(0);
  MultiplyRows(
      to, stride, model.values + user * model.length * model.width,
      model.query_width > 0 ? model.length : 0, model.width, from,
      [&](int32_t row, int32_t column, float sum) {
        float x = sum * scales[row];
        x += ToFloat(model.item_hidden[items[row] * model.width + column]);
        if (user_hidden != nullptr) x += user_hidden[column];
        return PRelu(x, slope[column]);
      });
  int32_t width = model.width;
  for (int32_t i = 0; i < model.num_layers; ++i) {
    const DeviceLayer<float>& layer = model.layers[i];
    slope = model.slope_before(i + 1);
    MultiplyRows(from, stride, layer.kernel, layer.inputs, layer.outputs, to,
                 [&](int32_t, int32_t column, float sum) {
                   return PRelu(sum + layer.bias[column], slope[column]);
                 });
    float* const swapped = from;
    from = to;
    to = swapped;
    width = layer.outputs;
  }
  const int32_t row = threadIdx.x / kLanesOfRow;
  const int32_t lane = threadIdx.x % kLanesOfRow;
  float score = 0;
  for (int32_t i = lane; i < width; i += kLanesOfRow) {
    score += from[row * stride + i] * model.out[i];
  }
  for (int mask = kLanesOfRow / 2; mask > 0; mask /= 2) {
    score += __shfl_xor_sync(kAllLanes, score, mask);
  }
  if (row < number && lane == 0) rows.Write(tile, first + row, score);
  __syncthreads();
}

// Scores a tile by a block of kPassThreads threads.
template <typename S, typename Rows>
__device__ inline void ScorePairsPlainly(const DevicePairs<S, float>& model,
                                         const Rows& rows, const Tile& tile) {
  const int32_t number = rows.num_rows(tile);
  for (int32_t first = 0; first < number; first += kPassRows) {
    const int32_t left = number - first;
    ScorePass(model, rows, tile, first, left < kPassRows ? left : kPassRows);
  }
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_PAIR_TILE_H_
