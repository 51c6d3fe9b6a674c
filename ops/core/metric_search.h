// A search whose scorer is built in: a metric over vectors in memory.

#ifndef NANN_OPS_CORE_METRIC_SEARCH_H_
#define NANN_OPS_CORE_METRIC_SEARCH_H_

#include <cstdint>
#include <vector>

#include "ops/core/beam_search.h"

namespace nann {

// L2: minus the squared Euclidean distance. IP: the inner product.
enum class Metric { kL2, kInnerProduct };

// A table of vectors, one a row of the graph.
struct Vectors {
  const float* data = nullptr;
  int64_t width = 0;
  Metric metric = Metric::kL2;
};

// Scores the rows that a search asks for until it ends.
class MetricScorer {
 public:
  explicit MetricScorer(const Vectors& vectors) : vectors_(vectors) {}

  // Takes a search that has been started. Returns -1, or the row whose score is
  // not a number, with which the search cannot go on.
  int64_t Run(const float* query, BeamSearch* search);

 private:
  Vectors vectors_;
  std::vector<float> scores_;
};

}  // namespace nann

#endif  // NANN_OPS_CORE_METRIC_SEARCH_H_
