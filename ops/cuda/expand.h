// Finds the rows that a query meets next: its entries, and then the neighbors
// of its frontier that it has not met. Each function is called by all threads
// of the query's block.

#ifndef NANN_OPS_CUDA_EXPAND_H_
#define NANN_OPS_CUDA_EXPAND_H_

#include <cstdint>

#include "ops/cuda/step.h"

namespace nann {

// Neighbors that a thread looks up at once: the memory answers late.
constexpr int kAtOnce = 4;

// Entries are few: each looks whether one before it is the same.
__device__ inline int32_t EntryAt(const BlockQuery& query, int64_t i) {
  const NannCudaQueries& queries = query.search.queries;
  if (i < queries.num_expand) {
    return queries.expand[query.number * queries.num_expand + i];
  }
  return queries.only_score[query.number * queries.num_only_score + i -
                            queries.num_expand];
}

__device__ inline void StartBestFirst(const BlockQuery& query) {
  QueryState& state = query.state();
  const NannCudaQueries& queries = query.search.queries;
  const DeviceVisited visited = query.visited();
  visited.Empty();
  const int64_t number = queries.num_expand + queries.num_only_score;
  const int64_t room = query.search.max_evaluations;
  int64_t taken = 0;
  for (int64_t first = 0; first < number; first += blockDim.x) {
    const int64_t i = first + threadIdx.x;
    const int32_t row = i < number ? EntryAt(query, i) : -1;
    bool is_new = row >= 0;
    for (int64_t j = 0; j < i && is_new; ++j) is_new = EntryAt(query, j) != row;
    int32_t total;
    const int64_t place =
        taken + SumBefore(&query.room->block, is_new ? 1 : 0, &total);
    if (is_new && place < room) {
      query.candidates()[place] = row;
      visited.Insert(row);
      if (i < queries.num_expand) atomicAdd(&state.num_history, 1);
    }
    taken += total;
  }
  if (threadIdx.x == 0) {
    state.num_candidates = static_cast<int32_t>(taken < room ? taken : room);
  }
}

__device__ inline void StartPaper(const BlockQuery& query) {
  const NannCudaGraph& graph = query.search.graph;
  for (int64_t i = threadIdx.x; i < graph.num_entry_points; i += blockDim.x) {
    query.candidates()[i] = graph.entry_points[i];
  }
  if (threadIdx.x == 0) {
    query.state().num_candidates = static_cast<int32_t>(graph.num_entry_points);
  }
}

// Where the neighbors of each row of the frontier begin in the list of all of
// them. Returns how many they are.
__device__ inline int32_t LayOut(const BlockQuery& query,
                                 const NannCudaLevel& level) {
  const int32_t size = query.state().num_frontier;
  int32_t* const offsets =
      query.Part(query.memory().offsets, query.search.room.frontier);
  int64_t* const starts =
      query.Part(query.memory().starts, query.search.room.frontier);
  int32_t before = 0;
  for (int32_t first = 0; first < size; first += blockDim.x) {
    const int32_t i = first + threadIdx.x;
    int64_t begin = 0, end = 0;
    if (i < size) {
      const int32_t row = query.frontier()[i];
      begin = level.row_splits[row];
      end = level.row_splits[row + 1];
    }
    int32_t total;
    const int32_t offset =
        before + SumBefore(&query.room->block,
                           static_cast<int32_t>(end - begin), &total);
    if (i < size) {
      offsets[i] = offset;
      starts[i] = begin - offset;
    }
    before += total;
  }
  __syncthreads();
  return before;
}

// Returns neighbor i of the list of all, for one thread.
__device__ inline int32_t NeighborAt(const BlockQuery& query,
                                     const NannCudaLevel& level, int32_t i) {
  const int64_t room = query.search.room.frontier;
  const int32_t* const offsets = query.Part(query.memory().offsets, room);
  const int32_t owner =
      NumLower(offsets, query.state().num_frontier, i + 1) - 1;
  return level.values[query.Part(query.memory().starts, room)[owner] + i];
}

// New neighbors in any order: which of two equal ones is taken does not show.
__device__ inline void MeetAll(const BlockQuery& query,
                               const NannCudaLevel& level,
                               int32_t num_neighbors) {
  QueryState& state = query.state();
  const DeviceVisited visited = query.visited();
  const int32_t at_once = kAtOnce * blockDim.x;
  for (int32_t first = 0; first < num_neighbors; first += at_once) {
    int32_t rows[kAtOnce];
    bool is_new[kAtOnce];
#pragma unroll
    for (int part = 0; part < kAtOnce; ++part) {
      const int32_t i = first + part * blockDim.x + threadIdx.x;
      rows[part] = i < num_neighbors ? NeighborAt(query, level, i) : -1;
    }
#pragma unroll
    for (int part = 0; part < kAtOnce; ++part) {
      is_new[part] = rows[part] >= 0 && visited.Insert(rows[part]);
    }
#pragma unroll
    for (int part = 0; part < kAtOnce; ++part) {
      const int32_t place = TakePlace(&state.num_candidates, is_new[part]);
      if (is_new[part] && place < query.search.room.candidates) {
        query.candidates()[place] = rows[part];
      }
    }
  }
}

// New neighbors in the order in which the frontier meets them, at most `left`:
// where not all may be scored, the first ones are.
__device__ inline void MeetInOrder(const BlockQuery& query,
                                   const NannCudaLevel& level,
                                   int32_t num_neighbors, int64_t left) {
  const DeviceVisited visited = query.visited();
  // The keys are not in use between two steps.
  int32_t* const rows = reinterpret_cast<int32_t*>(query.room->block.sort);
  int64_t taken = 0;
  for (int32_t first = 0; first < num_neighbors && taken < left;
       first += blockDim.x) {
    const int32_t i = first + threadIdx.x;
    const int32_t row = i < num_neighbors ? NeighborAt(query, level, i) : -1;
    rows[threadIdx.x] = row;
    __syncthreads();
    bool is_new = row >= 0 && !visited.Contains(row);
    for (uint32_t j = 0; j < threadIdx.x && is_new; ++j) {
      is_new = rows[j] != row;
    }
    int32_t total;
    const int64_t place =
        taken + SumBefore(&query.room->block, is_new ? 1 : 0, &total);
    if (is_new && place < left && place < query.search.room.candidates) {
      query.candidates()[place] = row;
    }
    if (is_new) visited.Insert(row);
    taken += total;
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    query.state().num_candidates =
        static_cast<int32_t>(taken < left ? taken : left);
  }
}

// Fills the candidates with the neighbors of the frontier that are new.
__device__ inline void Expand(const BlockQuery& query, int32_t level_number) {
  QueryState& state = query.state();
  const NannCudaLevel& level = query.search.graph.levels[level_number];
  if (threadIdx.x == 0) state.num_candidates = 0;
  __syncthreads();
  const int32_t num_neighbors = LayOut(query, level);
  const int64_t left = query.search.max_evaluations - state.total_scored;
  if (query.search.is_paper || num_neighbors <= left) {
    MeetAll(query, level, num_neighbors);
  } else {
    MeetInOrder(query, level, num_neighbors, left);
  }
  __syncthreads();
  if (state.num_candidates > query.search.room.candidates && threadIdx.x == 0) {
    state.fault = NANN_CUDA_NO_ROOM;
    state.is_over = 1;
  }
  __syncthreads();
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_EXPAND_H_
