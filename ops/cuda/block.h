// What the threads of a block do together: sums, lists, the best of many keys,
// and sorting. Each function is called by all threads of the block, with the
// same arguments unless it says otherwise.

#ifndef NANN_OPS_CUDA_BLOCK_H_
#define NANN_OPS_CUDA_BLOCK_H_

#include <cstdint>

#include "ops/cuda/device.h"

namespace nann {

// Keys that are sorted in shared memory; more of them in global memory.
constexpr int32_t kSortRoom = 2048;
constexpr int kDigitBits = 8;
constexpr int kNumDigits = 1 << kDigitBits;

// Shared memory of a block.
struct BlockRoom {
  uint64_t sort[kSortRoom];
  uint32_t histogram[kNumDigits];
  int32_t warp_sums[kMaxWarps];
  int32_t counter;
  int32_t digit;
  int32_t before_digit;
  int32_t in_digit;
};

// Returns the sum of the values of the threads before this one; `total` is that
// of all.
__device__ inline int32_t SumBefore(BlockRoom* room, int32_t value,
                                    int32_t* total) {
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  int32_t sum = value;
  for (int step = 1; step < kWarp; step *= 2) {
    const int32_t other = __shfl_up_sync(kAllLanes, sum, step);
    if (lane >= step) sum += other;
  }
  __syncthreads();  // Nobody reads the sums of the last call any more.
  if (lane == kWarp - 1) room->warp_sums[warp] = sum;
  __syncthreads();
  int32_t before = 0, all = 0;
  for (int i = 0; i < static_cast<int>(blockDim.x) / kWarp; ++i) {
    const int32_t of_warp = room->warp_sums[i];
    if (i < warp) before += of_warp;
    all += of_warp;
  }
  *total = all;
  return before + sum - value;
}

// Returns a place in a list for each thread that wants one, in any order. All
// lanes of a warp call it; `counter` may be shared or global.
__device__ inline int32_t TakePlace(int32_t* counter, bool wants_one) {
  const uint32_t wanting = __ballot_sync(kAllLanes, wants_one);
  if (wanting == 0) return 0;
  const int lane = threadIdx.x % kWarp;
  const int leader = __ffs(wanting) - 1;
  int32_t first = 0;
  if (lane == leader) first = atomicAdd(counter, __popc(wanting));
  first = __shfl_sync(kAllLanes, first, leader);
  return first + __popc(wanting & ((1u << lane) - 1));
}

// Returns a number such that exactly `wanted` of n different keys are no larger
// than it; 0 < wanted <= n. Radix selection: the keys are looked at a few
// times, digit by digit.
__device__ inline uint64_t SelectLimit(BlockRoom* room, const uint64_t* keys,
                                       int32_t n, int32_t wanted) {
  uint64_t prefix = 0;
  for (int shift = 64 - kDigitBits;; shift -= kDigitBits) {
    const uint64_t higher =
        shift + kDigitBits == 64 ? 0 : ~uint64_t{0} << (shift + kDigitBits);
    for (int i = threadIdx.x; i < kNumDigits; i += blockDim.x) {
      room->histogram[i] = 0;
    }
    __syncthreads();
    for (int32_t i = threadIdx.x; i < n; i += blockDim.x) {
      const uint64_t key = keys[i];
      if ((key & higher) == prefix) {
        atomicAdd(&room->histogram[(key >> shift) % kNumDigits], 1u);
      }
    }
    __syncthreads();
    int32_t before = 0;
    for (int first = 0; first < kNumDigits; first += blockDim.x) {
      const int digit = first + threadIdx.x;
      const int32_t number =
          digit < kNumDigits ? static_cast<int32_t>(room->histogram[digit]) : 0;
      int32_t total;
      const int32_t place = before + SumBefore(room, number, &total);
      if (place < wanted && wanted <= place + number) {
        room->digit = digit;
        room->before_digit = place;
        room->in_digit = number;
      }
      before += total;
    }
    __syncthreads();
    prefix |= static_cast<uint64_t>(room->digit) << shift;
    wanted -= room->before_digit;
    const bool is_exact = room->in_digit == wanted;
    if (is_exact || shift == 0) return prefix | ~(~uint64_t{0} << shift);
  }
}

// Sorts `size` keys, a power of two, upwards. Bitonic.
__device__ inline void SortKeys(uint64_t* keys, int32_t size) {
  for (int32_t run = 2; run <= size; run *= 2) {
    for (int32_t step = run / 2; step > 0; step /= 2) {
      for (int32_t i = threadIdx.x; i < size / 2; i += blockDim.x) {
        const int32_t low = 2 * (i & ~(step - 1)) | (i & (step - 1));
        const int32_t high = low | step;
        const uint64_t a = keys[low], b = keys[high];
        if ((a > b) == ((low & run) == 0)) {
          keys[low] = b;
          keys[high] = a;
        }
      }
      __syncthreads();
    }
  }
}

__host__ __device__ inline int32_t PowerOfTwo(int64_t at_least) {
  int64_t power = 1;
  while (power < at_least) power *= 2;
  return static_cast<int32_t>(power);
}

// Returns how many of n sorted numbers are lower than `number`. For one thread.
template <typename T>
__device__ inline int32_t NumLower(const T* sorted, int32_t n, T number) {
  int32_t begin = 0, end = n;
  while (begin < end) {
    const int32_t middle = (begin + end) / 2;
    if (sorted[middle] < number) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

// Merges the best of n keys into a sorted list of `size`, such that at most
// `width` stay. Writes them to `merged` and returns how many they are. The keys
// are all different, also from those of the list. `sort` has room for the next
// power of two after the smaller of n and `width`.
__device__ inline int32_t MergeBest(BlockRoom* room, const uint64_t* list,
                                    int32_t size, const uint64_t* keys,
                                    int32_t n, int32_t width, uint64_t* sort,
                                    uint64_t* merged) {
  const int32_t chosen = n < width ? n : width;
  const int32_t padded = PowerOfTwo(chosen);
  uint64_t* const sorted = padded <= kSortRoom ? room->sort : sort;
  __syncthreads();
  if (threadIdx.x == 0) room->counter = 0;
  for (int32_t i = chosen + threadIdx.x; i < padded; i += blockDim.x) {
    sorted[i] = ~uint64_t{0};
  }
  uint64_t limit = ~uint64_t{0};
  if (chosen < n) limit = SelectLimit(room, keys, n, chosen);
  __syncthreads();
  for (int32_t first = 0; first < n; first += blockDim.x) {
    const int32_t i = first + threadIdx.x;
    const uint64_t key = i < n ? keys[i] : ~uint64_t{0};
    const bool is_chosen = i < n && key <= limit;
    const int32_t place = TakePlace(&room->counter, is_chosen);
    if (is_chosen) sorted[place] = key;
  }
  __syncthreads();
  SortKeys(sorted, padded);
  for (int32_t i = threadIdx.x; i < chosen; i += blockDim.x) {
    const int32_t place = i + NumLower(list, size, sorted[i]);
    if (place < width) merged[place] = sorted[i];
  }
  for (int32_t i = threadIdx.x; i < size; i += blockDim.x) {
    const int32_t place = i + NumLower(sorted, chosen, list[i]);
    if (place < width) merged[place] = list[i];
  }
  __syncthreads();
  return size + chosen < width ? size + chosen : width;
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_BLOCK_H_
