#include "ops/core/pair_scorer.h"

#include <algorithm>

#include "ops/core/kernels/kernels.h"

namespace nann {
namespace {

// Of padding the key bias is far below.
constexpr float kMaskedLogit = -1e8f;

}  // namespace

void LeaveOutPadding(PairModel* model) {
  int64_t length = model->length;
  while (length > 0 && model->key_bias[length - 1] <= kMaskedLogit) --length;
  if (length == 0) return;
  model->length = length;
  model->padded_length = (length + kPairLanes - 1) / kPairLanes * kPairLanes;
}

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
