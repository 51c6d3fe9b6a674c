// The end of a step of policy paper: level by level, what entered the beam is
// expanded. As in ops/core/beam_search.cc, by all threads of a block.

#ifndef NANN_OPS_CUDA_PAPER_STEP_H_
#define NANN_OPS_CUDA_PAPER_STEP_H_

#include <cstdint>

#include "ops/cuda/block_query.h"

namespace nann {

__device__ inline void EnterLevel(const BlockQuery& query, int32_t side) {
  QueryState& state = query.state();
  const DeviceVisited visited = query.visited();
  visited.Empty();
  const uint64_t* const beam = query.beam(side);
  for (int32_t i = threadIdx.x; i < state.beam_size; i += blockDim.x) {
    visited.Insert(RowOf(beam[i]));
    query.frontier()[i] = RowOf(beam[i]);
  }
  if (threadIdx.x == 0) state.num_frontier = state.beam_size;
  if (!query.search.keeps_answers) return;
  // The beam's own rows are the first answers of the level.
  int32_t* const counter = &query.room->block.counter;
  __syncthreads();
  if (threadIdx.x == 0) *counter = 0;
  __syncthreads();
  for (int32_t first = 0; first < state.beam_size; first += blockDim.x) {
    const int32_t i = first + threadIdx.x;
    const bool is_taken =
        i < state.beam_size && IsAllowed(query, RowOf(beam[i]));
    const int32_t place = TakePlace(counter, is_taken);
    if (is_taken) query.keys()[place] = beam[i];
  }
  __syncthreads();
  const int32_t number = *counter;
  const int32_t width = static_cast<int32_t>(query.search.room.answers);
  const int32_t size =
      MergeCollected(query, nullptr, 0, number, width, query.answers(side));
  if (threadIdx.x == 0) state.num_answers = size;
}

// What entered the beam is expanded next.
__device__ inline void ExpandWhatEntered(const BlockQuery& query,
                                         const float* scores, int32_t side) {
  QueryState& state = query.state();
  if (threadIdx.x == 0) state.num_frontier = 0;
  __syncthreads();
  const float worst = state.beam_size > 0
                          ? ScoreOf(query.beam(side)[state.beam_size - 1])
                          : 0.0f;
  const int32_t room = static_cast<int32_t>(query.search.room.frontier);
  for (int32_t first = 0; first < state.num_candidates; first += blockDim.x) {
    const int32_t i = first + threadIdx.x;
    const bool is_taken = i < state.num_candidates && scores[i] >= worst;
    const int32_t place = TakePlace(&state.num_frontier, is_taken);
    if (is_taken && place < room) {
      query.frontier()[place] = query.candidates()[i];
    }
  }
  __syncthreads();
  if (state.num_frontier > room && threadIdx.x == 0) {
    state.fault = NANN_CUDA_NO_ROOM;
    state.is_over = 1;
  }
}

__device__ inline void EndPaperStep(const BlockQuery& query,
                                    const StepPlan& plan, const float* scores) {
  QueryState& state = query.state();
  const int32_t from = plan.number, to = plan.number + 1;
  if (query.search.keeps_answers && plan.number > 0) {
    const int32_t width = static_cast<int32_t>(query.search.room.answers);
    const uint64_t* const answers = query.answers(from);
    const int32_t number =
        CollectKeys(query, scores, Wanted::kAllowed,
                    EntryLimit(answers, state.num_answers, width));
    const int32_t size = MergeCollected(query, answers, state.num_answers,
                                        number, width, query.answers(to));
    if (threadIdx.x == 0) state.num_answers = size;
  }
  const uint64_t* const beam = query.beam(from);
  const int32_t width = plan.beam_width;
  const int32_t kept = state.beam_size < width ? state.beam_size : width;
  const int32_t number =
      CollectKeys(query, scores, Wanted::kAll, EntryLimit(beam, kept, width));
  const int32_t size =
      MergeCollected(query, beam, kept, number, width, query.beam(to));
  if (threadIdx.x == 0) {
    state.beam_size = size;
    state.is_over = plan.is_last;
  }
  __syncthreads();
  if (plan.is_last) return;
  if (plan.enters_level) {
    EnterLevel(query, to);
  } else {
    ExpandWhatEntered(query, scores, to);
  }
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_PAPER_STEP_H_
