#include "ops/core/metric_search.h"

#include "ops/core/kernels/kernels.h"

namespace nann {

int64_t MetricScorer::Run(const float* query, BeamSearch* search) {
  const Kernels& kernels = BestKernels();
  const auto score =
      vectors_.metric == Metric::kL2 ? kernels.score_l2 : kernels.score_ip;
  Span<const int32_t> rows;
  while (search->Next(&rows)) {
    scores_.resize(rows.size());
    score(query, vectors_.data, vectors_.width, rows.data(), rows.size(),
          scores_.data());
    const int64_t fault = search->Absorb(scores_.data());
    if (fault >= 0) return rows[fault];
  }
  return -1;
}

}  // namespace nann
