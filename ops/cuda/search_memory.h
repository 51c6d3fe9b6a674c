// What a search of many queries keeps on the device, and how a hop is to be
// taken: plain structs that go to kernels by value.

#ifndef NANN_OPS_CUDA_SEARCH_MEMORY_H_
#define NANN_OPS_CUDA_SEARCH_MEMORY_H_

#include <cstdint>

#include "ops/cuda/nann_cuda.h"

namespace nann {

// Where one query is.
struct QueryState {
  int32_t num_candidates;
  int32_t num_frontier;
  int32_t num_history;  // Candidates that are expanded whatever their score.
  int32_t beam_size;
  int32_t num_answers;    // Policy paper with a filter.
  int32_t num_forbidden;  // Policy best first with a filter: not expanded yet,
  int32_t first_forbidden;  // and where they begin.
  int32_t num_steps;
  int64_t total_scored;
  int32_t is_over;
  int32_t fault;      // NannCudaFault
  int32_t fault_row;  // The lowest row whose score is not a number.
};

// Sizes of a query's memory, in elements.
struct Room {
  int64_t candidates = 0;
  int64_t keys = 0;
  int64_t tiles = 0;
  int64_t frontier = 0;
  int64_t beam = 0;
  int64_t answers = 0;
  int64_t forbidden = 0;
  int64_t sort = 0;
  int64_t steps = 0;
  int64_t visited_words = 0;
  bool visited_is_bitmap = true;
};

// Rows of one query that are scored together, at most kTileRows.
constexpr int32_t kTileRows = 64;

struct Tile {
  int32_t query;
  int32_t first;  // Of the candidates.
};

// All that the queries of a call hold; arrays of B times the room of a query.
struct SearchMemory {
  QueryState* states = nullptr;
  uint32_t* visited = nullptr;
  int32_t* candidates = nullptr;
  float* scores = nullptr;
  uint64_t* keys = nullptr;  // Of candidates, or of a beam.
  uint64_t* sort = nullptr;
  uint64_t* beams[2] = {};  // One is read while the other is written.
  uint64_t* answers[2] = {};
  uint64_t* forbidden[2] = {};
  int32_t* frontier = nullptr;
  int32_t* offsets = nullptr;  // Of the neighbors of each row of the frontier.
  int64_t* starts = nullptr;   // Where they lie, less the offset.
  int32_t* num_scored = nullptr;
  // Of two steps in turn: one is read while the other is emptied.
  NannCudaProgress* progress[2] = {};
  Tile* tiles[2] = {};
};

// The search as its kernels see it.
struct SearchView {
  NannCudaGraph graph;
  NannCudaQueries queries;
  SearchMemory memory;
  Room room;
  int64_t width = 0;  // Policy best first.
  int64_t max_steps = 0;
  int64_t max_evaluations = 0;
  int32_t is_paper = 0;
  int32_t is_filtered = 0;
  int32_t keeps_answers = 0;
};

// What follows on the scores of a step.
struct StepPlan {
  int32_t number = 0;      // Of the step that ends.
  int32_t beam_width = 0;  // After it.
  int32_t level = 0;       // That the next step expands on.
  bool enters_level = false;
  bool is_last = false;
};

}  // namespace nann

#endif  // NANN_OPS_CUDA_SEARCH_MEMORY_H_
