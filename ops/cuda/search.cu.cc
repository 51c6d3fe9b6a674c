// The kernels of a search, a block for each query, and the functions that put
// them into a stream.

#include "ops/cuda/search.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "ops/cuda/error.h"
#include "ops/cuda/expand.h"
#include "ops/cuda/nann_cuda.h"
#include "ops/cuda/search_plan.h"
#include "ops/cuda/step.h"

namespace nann {
namespace {

constexpr int32_t kDefaultThreads = 512;

__device__ StepRoom* BlockMemory() {
  return reinterpret_cast<StepRoom*>(SharedMemory());
}

// Writes the state back and says which rows are to be scored.
__device__ void Publish(const BlockQuery& query, int32_t step) {
  QueryState& state = query.state();
  const SearchMemory& memory = query.memory();
  NannCudaProgress* const progress = memory.progress[step % 2];
  int32_t* const first_tile = &query.room->block.counter;
  __syncthreads();
  if (threadIdx.x == 0) {
    if (state.is_over) state.num_candidates = 0;
    memory.states[query.number] = state;
    *first_tile = 0;
    const int32_t number = (state.num_candidates + kTileRows - 1) / kTileRows;
    if (number > 0) {
      *first_tile = atomicAdd(&progress->num_tiles, number);
      atomicMax(&progress->max_candidates, state.num_candidates);
    }
    if (!state.is_over) atomicAdd(&progress->num_active, 1);
    if (state.fault == NANN_CUDA_NO_ROOM) atomicAdd(&progress->num_no_room, 1);
  }
  __syncthreads();
  Tile* const tiles = memory.tiles[step % 2] + *first_tile;
  for (int32_t i = threadIdx.x; i * kTileRows < state.num_candidates;
       i += blockDim.x) {
    tiles[i] = {static_cast<int32_t>(query.number), i * kTileRows};
  }
}

__global__ void StartKernel(SearchView search) {
  const BlockQuery query{search, BlockMemory(), blockIdx.x};
  if (threadIdx.x == 0) {
    query.state() = QueryState{};
    query.state().fault_row = INT32_MAX;
  }
  __syncthreads();
  if (search.is_paper) {
    StartPaper(query);
  } else {
    StartBestFirst(query);
  }
  __syncthreads();
  Publish(query, 0);
}

__global__ void StepKernel(SearchView search, StepPlan plan,
                           const float* scores, int64_t stride) {
  const BlockQuery query{search, BlockMemory(), blockIdx.x};
  if (threadIdx.x == 0) query.state() = search.memory.states[blockIdx.x];
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    // The step after the next one writes here.
    *search.memory.progress[plan.number % 2] = NannCudaProgress{};
  }
  __syncthreads();
  const bool was_over = query.state().is_over;
  __syncthreads();
  if (!was_over) {
    AbsorbScores(query, plan, scores + blockIdx.x * stride);
    const bool goes_on = !query.state().is_over;
    __syncthreads();
    if (goes_on) Expand(query, plan.level);
  }
  Publish(query, plan.number + 1);
}

__global__ void FinishKernel(SearchView search, int32_t* rows, float* scores,
                             int32_t* num_scored, int32_t* faults) {
  const QueryState state = search.memory.states[blockIdx.x];
  const int64_t k = search.queries.k;
  const bool from_answers = search.is_paper && search.keeps_answers;
  const int64_t room = from_answers ? search.room.answers : search.room.beam;
  const int32_t size = from_answers ? state.num_answers : state.beam_size;
  const int side = state.num_steps % 2;
  const uint64_t* const best =
      (from_answers ? search.memory.answers : search.memory.beams)[side] +
      blockIdx.x * room;
  for (int64_t i = threadIdx.x; i < k; i += blockDim.x) {
    const bool is_there = i < size;
    rows[blockIdx.x * k + i] = is_there ? RowOf(best[i]) : -1;
    scores[blockIdx.x * k + i] = is_there ? ScoreOf(best[i]) : -INFINITY;
  }
  const int64_t steps = search.room.steps;
  for (int64_t i = threadIdx.x; i < steps; i += blockDim.x) {
    const int64_t place = blockIdx.x * steps + i;
    num_scored[place] =
        i < state.num_steps ? search.memory.num_scored[place] : 0;
  }
  if (threadIdx.x == 0) {
    faults[2 * blockIdx.x] = state.fault;
    faults[2 * blockIdx.x + 1] =
        state.fault == NANN_CUDA_NOT_A_NUMBER ? state.fault_row : -1;
  }
}

}  // namespace
}  // namespace nann

using nann::CheckLaunch;
using nann::SetError;
using nann::ToStream;

NannCudaSearch* NannCudaSearchNew(const NannCudaGraph* graph,
                                  const NannCudaPolicy* policy,
                                  const NannCudaQueries* queries,
                                  const NannCudaOptions* options) {
  const NannCudaOptions usual = {};
  if (options == nullptr) options = &usual;
  const std::string fault =
      nann::FindFault(*graph, *policy, *queries, *options);
  if (!fault.empty()) {
    SetError(fault);
    return nullptr;
  }
  auto search = std::make_unique<NannCudaSearch>();
  search->view = nann::MakeView(*graph, *policy, *queries, *options);
  if (policy->is_paper) search->plans = nann::PlanPaper(*graph, *policy);
  search->num_threads =
      options->num_threads > 0 ? options->num_threads : nann::kDefaultThreads;
  return search.release();
}

void NannCudaSearchDelete(NannCudaSearch* search) { delete search; }

int64_t NannCudaSearchBytes(const NannCudaSearch* search) {
  nann::SearchView view = search->view;
  return nann::LayOutMemory(nullptr, &view);
}

int64_t NannCudaVisitedBytes(const NannCudaSearch* search) {
  return search->view.room.visited_words * 4;
}

void NannCudaSearchSetMemory(NannCudaSearch* search, void* memory) {
  nann::LayOutMemory(memory, &search->view);
}

int64_t NannCudaSearchMaxSteps(const NannCudaSearch* search) {
  return search->view.room.steps;
}

int NannCudaSearchStart(NannCudaSearch* search, void* stream) {
  search->step = 0;
  const nann::SearchView& view = search->view;
  for (NannCudaProgress* progress : view.memory.progress) {
    cudaMemsetAsync(progress, 0, sizeof(*progress), ToStream(stream));
  }
  if (view.queries.num_queries == 0) return 0;
  NANN_LAUNCH(nann::StartKernel, view.queries.num_queries, search->num_threads,
              sizeof(nann::StepRoom), ToStream(stream), view);
  return CheckLaunch("start of a search");
}

NannCudaStep NannCudaSearchStep(const NannCudaSearch* search) {
  const nann::SearchView& view = search->view;
  return {view.memory.candidates, view.memory.scores,
          &view.memory.states->num_candidates,
          sizeof(nann::QueryState) / sizeof(int32_t), view.room.candidates};
}

int NannCudaSearchAbsorb(NannCudaSearch* search, const float* scores,
                         int64_t stride, void* stream) {
  const nann::SearchView& view = search->view;
  if (search->step == view.room.steps) {
    return SetError("the search has taken all of its " +
                    std::to_string(search->step) + " steps");
  }
  const nann::StepPlan plan = search->Plan(search->step++);
  if (view.queries.num_queries == 0) return 0;
  NANN_LAUNCH(nann::StepKernel, view.queries.num_queries, search->num_threads,
              sizeof(nann::StepRoom), ToStream(stream), view, plan, scores,
              stride);
  return CheckLaunch("step of a search");
}

int NannCudaSearchRead(const NannCudaSearch* search, NannCudaProgress* progress,
                       void* stream) {
  cudaMemcpyAsync(progress, search->view.memory.progress[search->step % 2],
                  sizeof(*progress), cudaMemcpyDeviceToHost, ToStream(stream));
  return nann::Check(cudaStreamSynchronize(ToStream(stream)),
                     "progress of a search");
}

int NannCudaSearchFinish(const NannCudaSearch* search, int32_t* rows,
                         float* scores, int32_t* num_scored, int32_t* faults,
                         void* stream) {
  const nann::SearchView& view = search->view;
  if (view.queries.num_queries == 0) return 0;
  NANN_LAUNCH(nann::FinishKernel, view.queries.num_queries, 256, 0,
              ToStream(stream), view, rows, scores, num_scored, faults);
  return CheckLaunch("end of a search");
}
