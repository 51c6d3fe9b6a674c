#include "ops/core/pair_user.h"

#include "ops/core/kernels/kernels.h"

namespace nann {
namespace {

constexpr float kMaskedLogit = -1e9f;

}  // namespace

bool IsTaken(const float* embedding, int64_t inputs) {
  for (int64_t i = 0; i < inputs; ++i) {
    if (embedding[i] != 0.0f) return true;
  }
  return false;
}

int64_t PairUserScratchSize(const PairUserModel& model, int64_t padded_length) {
  return (model.inputs + model.hidden) * padded_length;
}

void MakePairKeys(const PairUserModel& model, const PairHistory& history,
                  bool mask_padding, float* scratch, const PairKeys& result) {
  BestKernels().make_pair_keys(model, history, scratch, result);
  for (int64_t place = 0; place < history.padded_length; ++place) {
    if (place >= history.length) {
      result.bias[place] = kMaskedLogit;
    } else if (mask_padding &&
               !IsTaken(history.embedding + place * model.inputs,
                        model.inputs)) {
      result.bias[place] += kMaskedLogit;
    }
  }
}

}  // namespace nann
