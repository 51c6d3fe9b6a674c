// The rows that a query has met, on the device: a bitmap where that is small
// enough, a hash table of rows otherwise.

#ifndef NANN_OPS_CUDA_VISITED_H_
#define NANN_OPS_CUDA_VISITED_H_

#include <cstdint>

#include "ops/cuda/device.h"

namespace nann {

// A set of one query over memory of the search; many threads insert at once,
// and exactly one of them is told that a row is new.
struct DeviceVisited {
  uint32_t* words = nullptr;
  // Of the memory. As a bitmap: a bit a row. As a table: a row a word, a power
  // of two of them, at least twice as many as rows are inserted.
  int64_t num_words = 0;
  bool is_bitmap = true;

  // Called by all threads of a block, which then wait for each other.
  __device__ void Empty() const {
    const uint32_t empty = is_bitmap ? 0 : kNoRow;
    // Memory of a query begins at a multiple of 16 bytes and ends at one.
    uint4* const fours = reinterpret_cast<uint4*>(words);
    for (int64_t i = threadIdx.x; i < num_words / 4; i += blockDim.x) {
      fours[i] = uint4{empty, empty, empty, empty};
    }
    __syncthreads();
  }

  // Returns whether the row was new.
  __device__ bool Insert(int32_t row) const {
    if (!is_bitmap) return InsertIntoTable(static_cast<uint32_t>(row));
    uint32_t* const word = words + row / 32;
    const uint32_t bit = 1u << row % 32;
    // Most rows that a walk meets are known: an atomic costs more than a look.
    if (*static_cast<volatile uint32_t*>(word) & bit) return false;
    return (atomicOr(word, bit) & bit) == 0;
  }

  // For rows inserted before the last barrier.
  __device__ bool Contains(int32_t row) const {
    if (is_bitmap) return words[row / 32] >> row % 32 & 1;
    const uint32_t wanted = static_cast<uint32_t>(row);
    for (uint32_t place = Place(wanted);; place = Next(place)) {
      const uint32_t found = words[place];
      if (found == wanted) return true;
      if (found == kNoRow) return false;
    }
  }

 private:
  static constexpr uint32_t kNoRow = 0xffffffffu;

  __device__ uint32_t Place(uint32_t row) const {
    // The upper bits of a product are mixed best (Knuth, TAOCP 3, 6.4).
    const uint64_t mixed = row * uint64_t{0x9e3779b97f4a7c15u};
    return static_cast<uint32_t>(mixed >> 32) & (num_words - 1);
  }

  __device__ uint32_t Next(uint32_t place) const {
    return (place + 1) & (num_words - 1);
  }

  __device__ bool InsertIntoTable(uint32_t row) const {
    for (uint32_t place = Place(row);; place = Next(place)) {
      const uint32_t found = atomicCAS(words + place, kNoRow, row);
      if (found == kNoRow) return true;
      if (found == row) return false;
    }
  }
};

}  // namespace nann

#endif  // NANN_OPS_CUDA_VISITED_H_
