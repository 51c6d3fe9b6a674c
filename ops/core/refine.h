// Better neighbor lists for a search by distance, from what a search found.
//
// A graph that was built row by row chose the first rows' neighbors among few.
// Searching for every row once more, choosing among what is found, and linking
// both ways gives lists that lead to the same recall with fewer rows scored.

#ifndef NANN_OPS_CORE_REFINE_H_
#define NANN_OPS_CORE_REFINE_H_

#include <cstdint>
#include <vector>

#include "ops/core/ranking.h"
#include "ops/core/span.h"

namespace nann {

struct RefineSettings {
  int64_t degree = 64;  // Most neighbors of a row.
  // Above 1 more neighbors are kept: a search makes fewer detours.
  float alpha = 1.05f;
};

// Chooses neighbors. Keeps its memory from row to row.
//
// Source: RobustPrune, DiskANN (Subramanya et al., NeurIPS 2019), Algorithm 2:
// from near to far, a candidate is kept unless it lies nearer, by the factor
// alpha, to one that was kept than to the row.
class NeighborChooser {
 public:
  // The vectors, [num_rows, width], outlive the chooser.
  NeighborChooser(const float* vectors, int64_t width,
                  const RefineSettings& settings)
      : vectors_(vectors), width_(width), settings_(settings) {}

  // Writes the neighbors of a row, `degree` of them, filled up with -1.
  // Candidates may hold negative rows, the row itself and repetitions.
  void Choose(int32_t row, Span<const int32_t> candidates, int32_t* neighbors);

  // Likewise, but keeps all candidates if there are no more than `degree`.
  void KeepOrChoose(int32_t row, Span<const int32_t> candidates,
                    int32_t* neighbors);

 private:
  void SetCandidates(int32_t row, Span<const int32_t> candidates);

  const float* vectors_;
  int64_t width_;
  RefineSettings settings_;
  std::vector<int32_t> rows_;
  std::vector<float> scores_;
  std::vector<Ranked> ranked_;
};

// Lists of the rows that name a row, as compressed rows.
struct ReverseLists {
  std::vector<int32_t> values;
  std::vector<int64_t> row_splits;

  Span<const int32_t> Of(int32_t row) const {
    return {values.data() + row_splits[row],
            row_splits[row + 1] - row_splits[row]};
  }
};

// Turns a table [num_rows, degree], filled up with -1, around.
ReverseLists Reverse(const int32_t* table, int64_t num_rows, int64_t degree);

}  // namespace nann

#endif  // NANN_OPS_CORE_REFINE_H_
