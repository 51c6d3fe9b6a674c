// The nearest vectors to a query, by codes and then exactly.
//
// The rule is that of BeamSearch with policy best first and nothing to filter.
// A metric on codes takes two nanoseconds a row, so here everything else
// counts: this loop knows its scorer, reads tables instead of lists, and lets
// the beam be longer than the part of it that is expanded.

#ifndef NANN_OPS_CORE_VECTOR_SEARCH_H_
#define NANN_OPS_CORE_VECTOR_SEARCH_H_

#include <cstdint>
#include <vector>

#include "ops/core/codes.h"
#include "ops/core/metric_search.h"
#include "ops/core/ranking.h"
#include "ops/core/span.h"
#include "ops/core/visited_set.h"

namespace nann {

// Borrowed memory. Tables that begin at a cache line are read fastest.
struct VectorIndex {
  // [num_rows, degree]: lists of neighbors, each ended by -1 or by its row.
  const int32_t* neighbors = nullptr;
  int64_t num_rows = 0;
  int64_t degree = 0;
  const uint8_t* codes = nullptr;  // [num_rows, CodeStride]
  CodeScale scale;
  Vectors vectors;  // [num_rows, width]
  Span<const int32_t> entries;

  Span<const int32_t> Neighbors(int32_t row) const {
    return {neighbors + row * degree, degree};
  }
};

// One search at a time; keeps its memory for the next.
class VectorSearch {
 public:
  // Writes at most k answers, best first, and returns how many. The search
  // ends when none of the best `ef` rows is left to be expanded; ef may be
  // below k.
  int64_t Search(const VectorIndex& index, const float* query, int64_t k,
                 int64_t ef, int32_t* rows, float* scores);

  // Rows scored by their codes.
  int64_t num_scored() const { return num_scored_; }

 private:
  void Start(const VectorIndex& index, const float* query, int64_t k,
             int64_t ef);
  void AddCandidate(int32_t row, int64_t* number);
  void ScoreCandidates();
  void Merge(int64_t number);
  bool ChooseFrontier();
  void Expand();
  int64_t Rerank(const float* query, int64_t k, int32_t* rows, float* scores);

  const VectorIndex* index_ = nullptr;
  std::vector<uint8_t> query_;  // Codes, signed ones with an inner product.
  VisitedSet visited_;

  // The best rows, sorted; as long as beam_size_. A mark says: expanded.
  std::vector<Ranked> beam_;
  int64_t beam_size_ = 0;
  int64_t ef_ = 0;
  int64_t first_unmarked_ = 0;

  std::vector<int32_t> frontier_;
  std::vector<int32_t> candidates_;
  int64_t num_candidates_ = 0;
  std::vector<float> scores_;
  std::vector<Ranked> entering_;  // Candidates that are good enough.
  std::vector<int32_t> found_;
  int64_t num_scored_ = 0;
};

}  // namespace nann

#endif  // NANN_OPS_CORE_VECTOR_SEARCH_H_
