#include "ops/core/graph_view.h"

#include <string>

#include "ops/core/visited_set.h"

namespace nann {
namespace {

std::string Range(int64_t size) { return "[0, " + std::to_string(size) + ")"; }

std::string FindFault(const Level& level, int64_t num_rows,
                      const std::string& name) {
  const Span<const int64_t> splits = level.row_splits;
  if (splits.size() != num_rows + 1) {
    return name + ": row_splits has " + std::to_string(splits.size()) +
           " entries, wanted " + std::to_string(num_rows + 1);
  }
  if (splits[0] != 0 || splits[num_rows] != level.values.size()) {
    return name + ": row_splits goes from " + std::to_string(splits[0]) +
           " to " + std::to_string(splits[num_rows]) + ", wanted 0 to " +
           std::to_string(level.values.size()) + ", the number of neighbors";
  }
  for (int64_t row = 0; row < num_rows; ++row) {
    if (splits[row] > splits[row + 1]) {
      return name + ": row_splits decreases from " +
             std::to_string(splits[row]) + " to " +
             std::to_string(splits[row + 1]) + " after row " +
             std::to_string(row);
    }
  }
  for (int64_t i = 0; i < level.values.size(); ++i) {
    if (level.values[i] < 0 || level.values[i] >= num_rows) {
      return name + ": neighbor " + std::to_string(i) + " is " +
             std::to_string(level.values[i]) + ", outside " + Range(num_rows);
    }
  }
  return "";
}

}  // namespace

std::string FindFault(const GraphView& graph) {
  if (graph.levels.empty()) return "the graph has no level";
  const int64_t num_rows = graph.levels[0].row_splits.size() - 1;
  if (num_rows < 1) return "the graph has no row";
  if (num_rows > INT32_MAX) {
    return "the graph has " + std::to_string(num_rows) +
           " rows, more than 2^31 - 1";
  }
  for (size_t i = 0; i < graph.levels.size(); ++i) {
    const std::string fault =
        FindFault(graph.levels[i], num_rows, "level " + std::to_string(i));
    if (!fault.empty()) return fault;
  }
  if (graph.entry_points.empty()) return "the graph has no entry point";
  VisitedSet seen;
  seen.Reset(num_rows);
  for (int64_t i = 0; i < graph.entry_points.size(); ++i) {
    const int32_t row = graph.entry_points[i];
    if (row < 0 || row >= num_rows) {
      return "entry point " + std::to_string(i) + " is " + std::to_string(row) +
             ", outside " + Range(num_rows);
    }
    if (!seen.Insert(row)) {
      return "entry point " + std::to_string(i) + " is " + std::to_string(row) +
             " once more, wanted each row once";
    }
  }
  return "";
}

}  // namespace nann
