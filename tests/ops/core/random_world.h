// Random small graphs and questions with owned memory, as tests/worlds.py
// makes.

#ifndef NANN_TESTS_OPS_CORE_RANDOM_WORLD_H_
#define NANN_TESTS_OPS_CORE_RANDOM_WORLD_H_

#include <cstdint>
#include <random>
#include <vector>

#include "ops/core/beam_search.h"
#include "ops/core/graph_view.h"

namespace nann::testing {

using Random = std::mt19937_64;

inline int64_t Below(int64_t limit, Random* random) {
  return static_cast<int64_t>((*random)() % static_cast<uint64_t>(limit));
}

inline std::vector<int32_t> RandomRows(int64_t number, int64_t num_rows,
                                       Random* random) {
  std::vector<int32_t> rows(number);
  for (int32_t& row : rows) row = static_cast<int32_t>(Below(num_rows, random));
  return rows;
}

struct World {
  struct OwnedLevel {
    std::vector<int32_t> values;
    std::vector<int64_t> row_splits;
  };

  std::vector<OwnedLevel> levels;
  std::vector<int32_t> entry_points;
  std::vector<float> scores;
  std::vector<int32_t> expand, only_score, denied;
  std::vector<uint8_t> allowed;
  bool has_allowed = false;
  int64_t k = 1;
  PaperPolicy paper;
  BestFirstPolicy best_first;

  int64_t num_rows() const { return static_cast<int64_t>(scores.size()); }

  GraphView Graph() const {
    GraphView view;
    for (const OwnedLevel& level : levels) {
      view.levels.push_back({level.values, level.row_splits});
    }
    view.entry_points = entry_points;
    return view;
  }

  Query Question() const {
    return {k, expand, only_score,
            RowFilter{has_allowed ? allowed.data() : nullptr, denied}};
  }
};

// One to 70 rows, of which the bits end within, at and after a word.
inline World MakeWorld(int64_t num_rows, Random* random) {
  World world;
  for (int64_t level = Below(3, random); level >= 0; --level) {
    const int64_t degree = Below(7, random);
    World::OwnedLevel owned;
    owned.row_splits.push_back(0);
    for (int64_t row = 0; row < num_rows; ++row) {
      const int64_t end = owned.row_splits.back() + Below(degree + 1, random);
      owned.row_splits.push_back(end);
    }
    owned.values = RandomRows(owned.row_splits.back(), num_rows, random);
    world.levels.push_back(owned);
  }
  // The rows of the level above: each once.
  const int64_t step = 1 + Below(num_rows, random);
  for (int64_t row = 0; row < num_rows; row += step) {
    world.entry_points.push_back(static_cast<int32_t>(row));
  }
  const int64_t spread = std::vector<int64_t>{1, 3, 10, 1000}[Below(4, random)];
  for (int64_t row = 0; row < num_rows; ++row) {
    const int64_t score = Below(2 * spread, random) - spread;
    // Both zeros occur.
    world.scores.push_back(score == 0 && Below(2, random) == 0
                               ? -0.0f
                               : static_cast<float>(score));
  }
  world.expand = RandomRows(Below(5, random), num_rows, random);
  world.only_score = RandomRows(Below(4, random), num_rows, random);
  world.expand.push_back(-1);
  if (Below(2, random) == 0) {
    world.denied = RandomRows(Below(6, random), num_rows, random);
    world.denied.push_back(-1);
    world.has_allowed = Below(2, random) == 0;
  }
  for (int64_t byte = 0; byte < (num_rows + 7) / 8; ++byte) {
    world.allowed.push_back(static_cast<uint8_t>(Below(256, random)));
  }
  world.k = 1 + Below(14, random);
  for (size_t i = 0; i <= world.levels.size(); ++i) {
    world.paper.widths.push_back(static_cast<int32_t>(1 + Below(12, random)));
    world.paper.hops.push_back(static_cast<int32_t>(1 + Below(3, random)));
  }
  world.paper.hops.back() = 1;
  if (Below(2, random) == 0) {
    // One for each step.
    size_t num_steps = 0;
    for (const int32_t hops : world.paper.hops) num_steps += hops;
    while (world.paper.widths.size() < num_steps) {
      world.paper.widths.push_back(static_cast<int32_t>(1 + Below(12, random)));
    }
  }
  world.best_first = {1 + Below(20, random), 1 + Below(6, random),
                      Below(3, random) == 0 ? 2 : 50,
                      Below(3, random) == 0 ? 3 : 1000};
  return world;
}

}  // namespace nann::testing

#endif  // NANN_TESTS_OPS_CORE_RANDOM_WORLD_H_
