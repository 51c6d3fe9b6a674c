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

// Scores the rows that a search asks for until it ends. The search has been
// started.
class MetricScorer {
 public:
  explicit MetricScorer(const Vectors& vectors) : vectors_(vectors) {}

  void Run(const float* query, BeamSearch* search);

 private:
  Vectors vectors_;
  std::vector<float> scores_;
};

}  // namespace nann

#endif  // NANN_OPS_CORE_METRIC_SEARCH_H_
