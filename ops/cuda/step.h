// One block takes a step of one query: what ops/core/beam_search.cc does, by
// many threads. Each function is called by all threads of the block.

#ifndef NANN_OPS_CUDA_STEP_H_
#define NANN_OPS_CUDA_STEP_H_

#include <cstdint>

#include "ops/cuda/best_first_step.h"
#include "ops/cuda/block_query.h"
#include "ops/cuda/paper_step.h"

namespace nann {

// Takes the scores of the query's candidates and chooses what to expand next.
__device__ inline void AbsorbScores(const BlockQuery& query,
                                    const StepPlan& plan, const float* scores) {
  QueryState& state = query.state();
  if (FindNotANumber(query, scores)) return;
  if (threadIdx.x == 0) {
    query.Part(query.memory().num_scored,
               query.search.room.steps)[plan.number] = state.num_candidates;
    state.num_steps = plan.number + 1;
    state.total_scored += state.num_candidates;
  }
  __syncthreads();
  if (query.search.is_paper) {
    EndPaperStep(query, plan, scores);
  } else {
    EndBestFirstStep(query, plan, scores);
  }
  __syncthreads();
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_STEP_H_
