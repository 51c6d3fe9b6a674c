// One block takes a step of one query: what ops/core/beam_search.cc does, by
// many threads. Each function is called by all threads of the block.

#ifndef NANN_OPS_CUDA_STEP_H_
#define NANN_OPS_CUDA_STEP_H_

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

// ---- Policy paper ----

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

// ---- Policy best first ----

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

// ---- Both ----

// Takes the scores of the query's candidates and chooses what to expand next.
__device__ inline void AbsorbScores(const BlockQuery& query,
                                    const StepPlan& plan, const float* scores) {
  QueryState& state = query.state();
  if (FindNotANumber(query, scores)) return;
  if (threadIdx.x == 0) {
    query.Part(query.memory().num_scored,
               query.search.room.steps)[plan.number] = state.num_candidates;
    state.num_steps = plan.number + 1;
    state.total_scored += state.num_candidates;
  }
  __syncthreads();
  if (query.search.is_paper) {
    EndPaperStep(query, plan, scores);
  } else {
    EndBestFirstStep(query, plan, scores);
  }
  __syncthreads();
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_STEP_H_
