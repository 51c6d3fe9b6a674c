// A search as the host holds it; see nann_cuda.h.

#ifndef NANN_OPS_CUDA_SEARCH_H_
#define NANN_OPS_CUDA_SEARCH_H_

#include <cstdint>
#include <vector>

#include "ops/cuda/late_progress.h"
#include "ops/cuda/search_memory.h"

struct NannCudaSearch {
  nann::SearchView view;
  std::vector<nann::StepPlan> plans;  // Of policy paper.
  int32_t num_threads = 0;
  int64_t step = 0;  // Whose rows are to be scored.
  nann::LateProgress late_progress;

  nann::StepPlan Plan(int64_t number) const {
    if (view.is_paper) return plans[number];
    nann::StepPlan plan;
    plan.number = static_cast<int32_t>(number);
    return plan;
  }
};

#endif  // NANN_OPS_CUDA_SEARCH_H_
