#include "ops/core/metric_search.h"

#include "ops/core/kernels/kernels.h"

namespace nann {

void MetricScorer::Run(const float* query, BeamSearch* search) {
  const Kernels& kernels = BestKernels();
  const auto score =
      vectors_.metric == Metric::kL2 ? kernels.score_l2 : kernels.score_ip;
  Span<const int32_t> rows;
  while (search->Next(&rows)) {
    scores_.resize(rows.size());
    score(query, vectors_.data, vectors_.width, rows.data(), rows.size(),
          scores_.data());
    search->Absorb(scores_.data());
  }
}

}  // namespace nann
