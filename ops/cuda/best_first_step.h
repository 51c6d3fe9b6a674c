// The end of a step of policy best first: the best rows that have not been
// expanded are next. As in ops/core/beam_search.cc, by all threads of a block.

#ifndef NANN_OPS_CUDA_BEST_FIRST_STEP_H_
#define NANN_OPS_CUDA_BEST_FIRST_STEP_H_

#include <cstdint>

#include "ops/cuda/block_query.h"

namespace nann {

// Marks the best rows of the beam that are not marked, and makes them the
// frontier, in order.
__device__ inline void TakeUnmarked(const BlockQuery& query, int32_t side) {
  QueryState& state = query.state();
  uint64_t* const beam = query.beam(side);
  const int32_t width = static_cast<int32_t>(query.search.width);
  int32_t taken = 0;
  for (int32_t first = 0; first < state.beam_size && taken < width;
       first += blockDim.x) {
    const int32_t i = first + threadIdx.x;
    const bool is_free = i < state.beam_size && !IsMarked(beam[i]);
    int32_t total;
    const int32_t place =
        taken + SumBefore(&query.room->block, is_free ? 1 : 0, &total);
    if (is_free && place < width) {
      query.frontier()[place] = RowOf(beam[i]);
      beam[i] = Marked(beam[i]);
    }
    taken += total;
  }
  if (threadIdx.x == 0) state.num_frontier = taken < width ? taken : width;
}

// The same where rows that may not be returned are walked through: by one
// thread, for there are only `width` to take.
__device__ inline void TakeAlsoForbidden(const BlockQuery& query,
                                         int32_t side) {
  QueryState& state = query.state();
  if (threadIdx.x != 0) return;
  uint64_t* const beam = query.beam(side);
  const uint64_t* const forbidden = query.forbidden(side);
  const bool is_full = state.beam_size == query.search.room.beam;
  int32_t next = 0;
  while (state.num_frontier < query.search.width) {
    while (next < state.beam_size && IsMarked(beam[next])) ++next;
    const bool has_allowed = next < state.beam_size;
    bool has_forbidden = state.first_forbidden < state.num_forbidden;
    const uint64_t best = has_forbidden ? forbidden[state.first_forbidden] : 0;
    if (is_full && best > beam[state.beam_size - 1]) has_forbidden = false;
    if (has_forbidden && (!has_allowed || best < beam[next])) {
      query.frontier()[state.num_frontier++] = RowOf(best);
      ++state.first_forbidden;
    } else if (has_allowed) {
      beam[next] = Marked(beam[next]);
      query.frontier()[state.num_frontier++] = RowOf(beam[next]);
    } else {
      break;
    }
  }
}

// The rows that may not be returned join those that wait to be expanded.
__device__ inline void SetForbiddenAside(const BlockQuery& query,
                                         const float* scores, int32_t from) {
  QueryState& state = query.state();
  const int32_t width = static_cast<int32_t>(query.search.room.forbidden);
  const uint64_t* const waiting = query.forbidden(from) + state.first_forbidden;
  const int32_t size = state.num_forbidden - state.first_forbidden;
  const int32_t number = CollectKeys(query, scores, Wanted::kForbiddenToExpand,
                                     EntryLimit(waiting, size, width));
  const int32_t merged = MergeCollected(query, waiting, size, number, width,
                                        query.forbidden(from + 1));
  if (threadIdx.x == 0) {
    state.num_forbidden = merged;
    state.first_forbidden = 0;
  }
  __syncthreads();
}

__device__ inline void EndBestFirstStep(const BlockQuery& query,
                                        const StepPlan& plan,
                                        const float* scores) {
  QueryState& state = query.state();
  const int32_t from = plan.number, to = plan.number + 1;
  const int32_t num_history = state.num_history;
  const bool is_filtered = query.search.is_filtered;
  if (is_filtered) SetForbiddenAside(query, scores, from);
  const uint64_t* const beam = query.beam(from);
  const int32_t width = static_cast<int32_t>(query.search.room.beam);
  const int32_t number =
      CollectKeys(query, scores, is_filtered ? Wanted::kAllowed : Wanted::kAll,
                  EntryLimit(beam, state.beam_size, width));
  const int32_t size = MergeCollected(query, beam, state.beam_size, number,
                                      width, query.beam(to));
  for (int32_t i = threadIdx.x; i < num_history; i += blockDim.x) {
    query.frontier()[i] = query.candidates()[i];
  }
  if (threadIdx.x == 0) {
    state.beam_size = size;
    state.num_frontier = num_history;
  }
  __syncthreads();
  if (num_history == 0) {
    if (is_filtered) {
      TakeAlsoForbidden(query, to);
    } else {
      TakeUnmarked(query, to);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    state.num_history = 0;  // Only the entries have one.
    state.is_over = state.num_frontier == 0 ||
                    state.num_steps >= query.search.max_steps ||
                    state.total_scored >= query.search.max_evaluations;
  }
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_BEST_FIRST_STEP_H_
