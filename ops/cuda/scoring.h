// Which rows a built-in scorer is to score, and where the scores go: the same
// scorers serve a search (the candidates of every query), an exact scan (all
// rows for every query), and rows that are given.

#ifndef NANN_OPS_CUDA_SCORING_H_
#define NANN_OPS_CUDA_SCORING_H_

#include <cstdint>

#include "ops/core/ranking.h"
#include "ops/cuda/search_memory.h"

namespace nann {

// The candidates of a step.
struct SearchRows {
  const Tile* tiles;
  const NannCudaProgress* progress;
  const QueryState* states;
  const int32_t* candidates;
  float* scores;
  int64_t capacity;

  __device__ int32_t num_tiles() const { return progress->num_tiles; }
  __device__ Tile tile(int32_t i) const { return tiles[i]; }
  __device__ int32_t num_rows(const Tile& tile) const {
    const int32_t left = states[tile.query].num_candidates - tile.first;
    return left < kTileRows ? left : kTileRows;
  }
  __device__ int64_t row(const Tile& tile, int32_t i) const {
    return candidates[tile.query * capacity + tile.first + i];
  }
  __device__ void Write(const Tile& tile, int32_t i, float score) const {
    scores[tile.query * capacity + tile.first + i] = score;
  }
};

// Rows that are given, as many for each query.
struct GivenRows {
  float* scores;  // [B, number]
  int64_t number;
  int64_t stride;  // From one query's rows to the next; 0: they are the same.
  int32_t num_queries;
  int32_t most_tiles;

  __device__ int32_t num_tiles() const { return most_tiles; }
  __device__ Tile tile(int32_t i) const {
    return {i % num_queries, i / num_queries * kTileRows};
  }
  __device__ int32_t num_rows(const Tile& tile) const {
    const int64_t left = number - tile.first;
    return static_cast<int32_t>(left < kTileRows ? left : kTileRows);
  }
  __device__ int64_t row(const Tile& tile, int32_t i) const {
    return tile.query * stride + tile.first + i;
  }
  __device__ void Write(const Tile& tile, int32_t i, float score) const {
    scores[tile.query * number + tile.first + i] = score;
  }
};

// What an exact scan keeps of each query.
struct ScanState {
  uint64_t limit;  // What ranks behind it is not among the best any more.
  int32_t size;
  int32_t num_found;  // Keys of this part that rank before the limit.
  int32_t fault_row;
};

// A part of all rows, for all queries; neighbors in the grid score the same
// rows, so that these are read from memory once.
struct ScanRows {
  ScanState* states;
  uint64_t* keys;  // [B, capacity]
  int64_t capacity;
  int64_t first;
  int64_t number;
  int32_t num_queries;

  __device__ int32_t num_tiles() const {
    const int64_t tiles = (number + kTileRows - 1) / kTileRows;
    return static_cast<int32_t>(tiles * num_queries);
  }
  __device__ Tile tile(int32_t i) const {
    return {i % num_queries, i / num_queries * kTileRows};
  }
  __device__ int32_t num_rows(const Tile& tile) const {
    const int64_t left = number - tile.first;
    return static_cast<int32_t>(left < kTileRows ? left : kTileRows);
  }
  __device__ int64_t row(const Tile& tile, int32_t i) const {
    return first + tile.first + i;
  }
  __device__ void Write(const Tile& tile, int32_t i, float score) const {
    ScanState* const state = states + tile.query;
    const int32_t scored = static_cast<int32_t>(row(tile, i));
    if (score != score) {
      atomicMin(&state->fault_row, scored);
      return;
    }
    const uint64_t key = Rank(score, scored);
    if (key > state->limit) return;
    const int32_t place = atomicAdd(&state->num_found, 1);
    keys[tile.query * capacity + place] = key;
  }
};

inline SearchRows RowsOf(const SearchView& view, int64_t step) {
  const SearchMemory& memory = view.memory;
  return {memory.tiles[step % 2], memory.progress[step % 2],
          memory.states,          memory.candidates,
          memory.scores,          view.room.candidates};
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_SCORING_H_
