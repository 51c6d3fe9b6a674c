// A graph of items as the search sees it: neighbor lists over borrowed memory.

#ifndef NANN_OPS_CORE_GRAPH_VIEW_H_
#define NANN_OPS_CORE_GRAPH_VIEW_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ops/core/span.h"

namespace nann {

// Neighbor lists of one level in compressed rows: the list of row r is
// values[row_splits[r]] to values[row_splits[r + 1]]. A row that is not on the
// level has an empty list.
struct Level {
  Span<const int32_t> values;
  Span<const int64_t> row_splits;

  Span<const int32_t> Neighbors(int32_t row) const {
    const int64_t begin = row_splits[row];
    return {values.data() + begin, row_splits[row + 1] - begin};
  }
};

// Levels 0, 1, ... and the rows of the level above the last one, where a search
// level by level begins. The arrays outlive the view.
struct GraphView {
  std::vector<Level> levels;
  Span<const int32_t> entry_points;

  int64_t num_rows() const { return levels[0].row_splits.size() - 1; }
};

// Returns what is wrong with the graph, in a sentence, or "" if a search can
// walk it. Looks at every neighbor once.
std::string FindFault(const GraphView& graph);

}  // namespace nann

#endif  // NANN_OPS_CORE_GRAPH_VIEW_H_
