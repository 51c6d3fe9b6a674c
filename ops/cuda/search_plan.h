// What a search needs, found out before it begins, on the host: how large each
// part of its memory is and what happens after each step.

#ifndef NANN_OPS_CUDA_SEARCH_PLAN_H_
#define NANN_OPS_CUDA_SEARCH_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ops/cuda/nann_cuda.h"
#include "ops/cuda/search_memory.h"

namespace nann {

// Returns what is wrong, in a sentence, or "".
std::string FindFault(const NannCudaGraph& graph, const NannCudaPolicy& policy,
                      const NannCudaQueries& queries,
                      const NannCudaOptions& options);

// Fills all of a view but the memory. The arguments have no fault.
SearchView MakeView(const NannCudaGraph& graph, const NannCudaPolicy& policy,
                    const NannCudaQueries& queries,
                    const NannCudaOptions& options);

// What follows on each step of policy paper, from the entry points on.
std::vector<StepPlan> PlanPaper(const NannCudaGraph& graph,
                                const NannCudaPolicy& policy);

// Returns the bytes of the memory; sets the pointers into `memory`, which may
// be null.
int64_t LayOutMemory(void* memory, SearchView* view);

}  // namespace nann

#endif  // NANN_OPS_CUDA_SEARCH_PLAN_H_
