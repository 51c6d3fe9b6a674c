// The query of a block, and what both policies do with its scores. Each
// function is called by all threads of the block.

#ifndef NANN_OPS_CUDA_BLOCK_QUERY_H_
#define NANN_OPS_CUDA_BLOCK_QUERY_H_

#include <cstdint>

#include "ops/core/ranking.h"
#include "ops/cuda/block.h"
#include "ops/cuda/search_memory.h"
#include "ops/cuda/visited.h"

namespace nann {

// Shared memory of a block that takes a step.
struct StepRoom {
  BlockRoom block;
  QueryState state;
};

// The query of this block: its part of every array. The state is copied to
// shared memory while a step is taken.
struct BlockQuery {
  const SearchView& search;
  StepRoom* room;
  int64_t number;

  __device__ QueryState& state() const { return room->state; }
  __device__ const SearchMemory& memory() const { return search.memory; }

  template <typename T>
  __device__ T* Part(T* array, int64_t size) const {
    return array + number * size;
  }
  __device__ int32_t* candidates() const {
    return Part(memory().candidates, search.room.candidates);
  }
  __device__ uint64_t* keys() const {
    return Part(memory().keys, search.room.keys);
  }
  __device__ int32_t* frontier() const {
    return Part(memory().frontier, search.room.frontier);
  }
  __device__ DeviceVisited visited() const {
    const Room& sizes = search.room;
    return {Part(memory().visited, sizes.visited_words), sizes.visited_words,
            sizes.visited_is_bitmap};
  }
  // A step reads one of the two and writes the other.
  __device__ uint64_t* beam(int32_t step) const {
    return Part(memory().beams[step % 2], search.room.beam);
  }
  __device__ uint64_t* answers(int32_t step) const {
    return Part(memory().answers[step % 2], search.room.answers);
  }
  __device__ uint64_t* forbidden(int32_t step) const {
    return Part(memory().forbidden[step % 2], search.room.forbidden);
  }
};

__device__ inline bool IsAllowed(const BlockQuery& query, int32_t row) {
  const NannCudaQueries& queries = query.search.queries;
  if (queries.allowed != nullptr) {
    const int64_t num_bytes = (query.search.graph.num_rows + 7) / 8;
    const uint8_t* const bits = queries.allowed + query.number * num_bytes;
    if (!(bits[row / 8] >> row % 8 & 1)) return false;
  }
  const int32_t* const denied =
      queries.denied + query.number * queries.num_denied;
  for (int64_t i = 0; i < queries.num_denied; ++i) {
    if (denied[i] == row) return false;
  }
  return true;
}

// Which candidates to collect.
enum class Wanted { kAll, kAllowed, kForbiddenToExpand };

// Writes the keys of the wanted candidates that rank before `limit` and returns
// how many there are.
__device__ inline int32_t CollectKeys(const BlockQuery& query,
                                      const float* scores, Wanted wanted,
                                      uint64_t limit) {
  QueryState& state = query.state();
  int32_t* const counter = &query.room->block.counter;
  __syncthreads();
  if (threadIdx.x == 0) *counter = 0;
  __syncthreads();
  for (int32_t first = 0; first < state.num_candidates; first += blockDim.x) {
    const int32_t i = first + threadIdx.x;
    bool is_taken = i < state.num_candidates;
    uint64_t key = 0;
    if (is_taken) {
      const int32_t row = query.candidates()[i];
      const bool is_history = i < state.num_history;
      key = Rank(scores[i], row);
      if (is_history) key = Marked(key);
      is_taken = key < limit;
      if (wanted != Wanted::kAll && is_taken) {
        const bool is_allowed = IsAllowed(query, row);
        is_taken = wanted == Wanted::kAllowed ? is_allowed
                                              : !is_allowed && !is_history;
      }
    }
    const int32_t place = TakePlace(counter, is_taken);
    if (is_taken) query.keys()[place] = key;
  }
  __syncthreads();
  return *counter;
}

// Returns what a key must be lower than to enter a sorted list.
__device__ inline uint64_t EntryLimit(const uint64_t* list, int32_t size,
                                      int32_t width) {
  return size < width || size == 0 ? ~uint64_t{0} : list[size - 1];
}

__device__ inline int32_t MergeCollected(const BlockQuery& query,
                                         const uint64_t* list, int32_t size,
                                         int32_t number, int32_t width,
                                         uint64_t* merged) {
  return MergeBest(&query.room->block, list, size, query.keys(), number, width,
                   query.Part(query.memory().sort, query.search.room.sort),
                   merged);
}

// Ends the query if a score is not a number. Returns whether it has.
__device__ inline bool FindNotANumber(const BlockQuery& query,
                                      const float* scores) {
  QueryState& state = query.state();
  for (int32_t i = threadIdx.x; i < state.num_candidates; i += blockDim.x) {
    if (scores[i] != scores[i]) {
      atomicMin(&state.fault_row, query.candidates()[i]);
    }
  }
  __syncthreads();
  const bool is_found = state.fault_row != INT32_MAX;
  if (is_found && threadIdx.x == 0) {
    state.fault = NANN_CUDA_NOT_A_NUMBER;
    state.is_over = 1;
  }
  __syncthreads();
  return is_found;
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_BLOCK_QUERY_H_
