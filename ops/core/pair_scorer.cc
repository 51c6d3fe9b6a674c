#include "ops/core/pair_scorer.h"

#include <algorithm>

#include "ops/core/kernels/kernels.h"

namespace nann {

int64_t PairScratchSize(const PairModel& model) {
  // A block of rows of: query, attention weights, and two layers' activations.
  int64_t widest = model.width;
  for (const PairLayer& layer : model.layers) {
    widest = std::max(widest, layer.outputs);
  }
  return kPairBlock *
         (model.query_width + model.padded_length + model.width + 2 * widest);
}

void ScorePairs(const PairModel& model, const PairItems& items, float* scratch,
                float* scores) {
  BestKernels().score_pairs(model, items, scratch, scores);
}

}  // namespace nann
