#include "tests/ops/core/oracle.h"

#include <algorithm>
#include <set>

namespace nann::testing {
namespace {

using Rows = std::vector<int32_t>;
using Set = std::set<int32_t>;

Rows Ranked(const World& world, Rows rows, int64_t width) {
  std::sort(rows.begin(), rows.end(), [&](int32_t a, int32_t b) {
    if (world.scores[a] != world.scores[b]) {
      return world.scores[a] > world.scores[b];
    }
    return a < b;
  });
  if (static_cast<int64_t>(rows.size()) > width) rows.resize(width);
  return rows;
}

Rows UnvisitedNeighbors(const World& world, size_t level, const Rows& frontier,
                        Set* visited) {
  const World::OwnedLevel& of_level = world.levels[level];
  Rows found;
  for (const int32_t row : frontier) {
    for (int64_t i = of_level.row_splits[row]; i < of_level.row_splits[row + 1];
         ++i) {
      const int32_t neighbor = of_level.values[i];
      if (visited->insert(neighbor).second) found.push_back(neighbor);
    }
  }
  return found;
}

Rows Allowed(const World& world, const Rows& rows) {
  Rows kept;
  for (const int32_t row : rows) {
    const bool is_allowed =
        !world.has_allowed || (world.allowed[row / 8] >> (row % 8) & 1);
    const bool is_denied = std::find(world.denied.begin(), world.denied.end(),
                                     row) != world.denied.end();
    if (is_allowed && !is_denied) kept.push_back(row);
  }
  return kept;
}

Rows Joined(Rows rows, const Rows& more) {
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

Found Answer(const World& world, const Rows& best, const Rows& num_scored) {
  Found found{best, {}, num_scored};
  // Adding zero makes one of both zeros.
  for (const int32_t row : best) {
    found.scores.push_back(world.scores[row] + 0.0f);
  }
  return found;
}

}  // namespace

Found SearchPaper(const World& world) {
  Rows num_scored = {static_cast<int32_t>(world.entry_points.size())};
  Rows beam = Ranked(world, world.entry_points, world.paper.widths.back());
  Rows offered = beam;
  for (size_t level = world.levels.size(); level-- > 0;) {
    Set visited(beam.begin(), beam.end());
    Rows frontier = beam;
    offered = beam;
    for (int32_t hop = 0; hop < world.paper.hops[level]; ++hop) {
      const Rows candidates =
          UnvisitedNeighbors(world, level, frontier, &visited);
      num_scored.push_back(static_cast<int32_t>(candidates.size()));
      offered = Joined(offered, candidates);
      // Of the level, or of the step.
      const std::vector<int32_t>& widths = world.paper.widths;
      const bool is_of_level = widths.size() == world.paper.hops.size();
      const int32_t width =
          widths[is_of_level ? level : widths.size() - num_scored.size()];
      beam = Ranked(world, Joined(beam, candidates), width);
      frontier.clear();
      for (const int32_t row : candidates) {
        if (world.scores[row] >= world.scores[beam.back()]) {
          frontier.push_back(row);
        }
      }
    }
  }
  const int64_t number = std::min<int64_t>(world.k, world.paper.widths[0]);
  return Answer(world, Ranked(world, Allowed(world, offered), number),
                num_scored);
}

Found SearchBestFirst(const World& world) {
  const BestFirstPolicy& policy = world.best_first;
  const int64_t ef = std::max(policy.ef, world.k);
  Rows scored, num_scored;
  Set visited, expanded;
  const auto evaluate = [&](Rows rows) {
    const int64_t left =
        policy.max_evaluations - static_cast<int64_t>(scored.size());
    if (static_cast<int64_t>(rows.size()) > left) rows.resize(left);
    scored = Joined(scored, rows);
    num_scored.push_back(static_cast<int32_t>(rows.size()));
    return rows;
  };
  const auto beam = [&] { return Ranked(world, Allowed(world, scored), ef); };
  const auto best_unexpanded = [&] {
    Rows order = Ranked(world, scored, static_cast<int64_t>(scored.size()));
    const Rows best = beam();
    if (static_cast<int64_t>(best.size()) == ef) {
      const auto last = std::find(order.begin(), order.end(), best.back());
      order.erase(last + 1, order.end());
    }
    Rows chosen;
    for (const int32_t row : order) {
      if (static_cast<int64_t>(chosen.size()) == policy.width) break;
      if (expanded.count(row) == 0) chosen.push_back(row);
    }
    return chosen;
  };

  Rows entries;
  Set seen;
  for (const int32_t row : Joined(world.expand, world.only_score)) {
    if (row >= 0 && seen.insert(row).second) entries.push_back(row);
  }
  entries = evaluate(entries);
  visited.insert(entries.begin(), entries.end());
  Rows frontier;
  for (const int32_t row : world.expand) {
    const bool is_known =
        std::find(frontier.begin(), frontier.end(), row) != frontier.end();
    if (visited.count(row) > 0 && !is_known) frontier.push_back(row);
  }
  if (frontier.empty()) frontier = best_unexpanded();
  while (!frontier.empty() &&
         static_cast<int64_t>(num_scored.size()) < policy.max_steps &&
         static_cast<int64_t>(scored.size()) < policy.max_evaluations) {
    expanded.insert(frontier.begin(), frontier.end());
    evaluate(UnvisitedNeighbors(world, 0, frontier, &visited));
    frontier = best_unexpanded();
  }
  Rows best = beam();
  if (static_cast<int64_t>(best.size()) > world.k) best.resize(world.k);
  return Answer(world, best, num_scored);
}

}  // namespace nann::testing
