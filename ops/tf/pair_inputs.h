// The inputs of Nann>PairScore, checked: on a CPU and on a GPU the same.

#ifndef NANN_OPS_TF_PAIR_INPUTS_H_
#define NANN_OPS_TF_PAIR_INPUTS_H_

#include <cstdint>

#include "ops/core/pair_scorer.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace nann {

// Pointers are to where the op runs: nothing is read through them here.
struct PairInputs {
  PairModel model;  // Its state is that of the first user.
  StateType type = StateType::kFloat32;
  const void* query = nullptr;   // [G, N, query_width]
  const void* hidden = nullptr;  // [G, N, width]
  int64_t num_users = 0;
  int64_t num_items = 0;  // N
  // G is B: each user has items of its own; else 1.
  bool has_items_per_user = false;
};

absl::Status ReadPairInputs(tensorflow::OpKernelContext* context,
                            PairInputs* inputs);

}  // namespace nann

#endif  // NANN_OPS_TF_PAIR_INPUTS_H_
