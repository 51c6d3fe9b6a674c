// State of the rows that a search asks for, copied together.

#include "ops/cuda/error.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/nann_cuda.h"
#include "ops/cuda/search.h"

namespace nann {
namespace {

constexpr int kThreads = 256;

// The rows of the step in progress.
struct StepRows {
  const QueryState* states;
  const int32_t* candidates;
  int64_t capacity;
};

// `Unit` is what is copied at once; a row has `row_units` of them.
template <typename Unit>
__global__ void GatherKernel(StepRows rows, const Unit* state,
                             int64_t row_units, int64_t padded, int64_t number,
                             Unit* gathered) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < number;
       i += int64_t{gridDim.x} * blockDim.x) {
    const int64_t place = i / row_units % padded;
    const int64_t query = i / row_units / padded;
    const bool is_there = place < rows.states[query].num_candidates;
    // Beyond the end a row that is there for certain.
    const int64_t row =
        is_there ? rows.candidates[query * rows.capacity + place] : 0;
    gathered[i] = state[row * row_units + i % row_units];
  }
}

template <typename Unit>
int Gather(const NannCudaSearch& search, const void* state, int64_t row_bytes,
           int64_t padded, void* gathered, cudaStream_t stream) {
  const SearchView& view = search.view;
  const StepRows rows = {view.memory.states, view.memory.candidates,
                         view.room.candidates};
  const int64_t row_units = row_bytes / static_cast<int64_t>(sizeof(Unit));
  const int64_t number = view.queries.num_queries * padded * row_units;
  if (number == 0) return 0;
  NANN_LAUNCH(GatherKernel<Unit>, NumBlocks((number + kThreads - 1) / kThreads),
              kThreads, 0, stream, rows, static_cast<const Unit*>(state),
              row_units, padded, number, static_cast<Unit*>(gathered));
  return CheckLaunch("item state of a step");
}

}  // namespace
}  // namespace nann

int NannCudaGatherRows(const NannCudaSearch* search, const void* state,
                       int64_t row_bytes, int64_t padded, void* gathered,
                       void* stream) {
  const cudaStream_t of_cuda = nann::ToStream(stream);
  if (row_bytes % sizeof(uint4) == 0) {
    return nann::Gather<uint4>(*search, state, row_bytes, padded, gathered,
                               of_cuda);
  }
  if (row_bytes % sizeof(uint32_t) == 0) {
    return nann::Gather<uint32_t>(*search, state, row_bytes, padded, gathered,
                                  of_cuda);
  }
  return nann::Gather<uint8_t>(*search, state, row_bytes, padded, gathered,
                               of_cuda);
}
