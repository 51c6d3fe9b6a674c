// Search and scan under a metric.

#include <string>

#include "ops/cuda/error.h"
#include "ops/cuda/expand.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/scan.h"
#include "ops/cuda/scorers.h"
#include "ops/cuda/search.h"
#include "ops/cuda/vector_tile.h"

namespace nann {
namespace {

constexpr int kVectorThreads = 256;

template <typename T, typename Rows>
__global__ void ScoreVectorsKernel(VectorTable<T> table, Rows rows) {
  for (int32_t i = blockIdx.x; i < rows.num_tiles(); i += gridDim.x) {
    ScoreVectors(table, rows, rows.tile(i));
  }
}

// The candidates of the block's own query, all as one tile.
struct OwnRows {
  const int32_t* candidates;
  float* scores;
  int32_t number;

  __device__ int32_t num_rows(const Tile&) const { return number; }
  __device__ int64_t row(const Tile&, int32_t i) const { return candidates[i]; }
  __device__ void Write(const Tile&, int32_t i, float score) const {
    scores[i] = score;
  }
};

// A whole search by one block.
template <typename T>
__global__ void WalkVectorsKernel(SearchView search, VectorTable<T> table) {
  const BlockQuery query{search, reinterpret_cast<StepRoom*>(SharedMemory()),
                         blockIdx.x};
  if (threadIdx.x == 0) query.state() = search.memory.states[blockIdx.x];
  __syncthreads();
  float* const scores =
      query.Part(search.memory.scores, search.room.candidates);
  StepPlan plan;
  while (!query.state().is_over) {
    const OwnRows rows = {query.candidates(), scores,
                          query.state().num_candidates};
    ScoreVectors(table, rows, Tile{static_cast<int32_t>(blockIdx.x), 0});
    __syncthreads();
    AbsorbScores(query, plan, scores);
    const bool goes_on = !query.state().is_over;
    __syncthreads();
    if (goes_on) Expand(query, plan.level);
    ++plan.number;
  }
  if (threadIdx.x == 0) {
    query.state().num_candidates = 0;
    search.memory.states[blockIdx.x] = query.state();
  }
}

// Calls `use` with the table as one of its type. Returns 1 if there is none.
template <typename Use>
int WithTable(const NannCudaVectors& vectors, const Use& use) {
  const auto table = [&](const auto* rows) {
    return use(VectorTable<std::decay_t<decltype(*rows)>>{
        rows, vectors.queries, vectors.width, vectors.is_l2 != 0});
  };
  switch (vectors.type) {
    case NANN_CUDA_FLOAT32:
      return table(static_cast<const float*>(vectors.rows));
    case NANN_CUDA_FLOAT16:
      return table(static_cast<const __half*>(vectors.rows));
    case NANN_CUDA_BFLOAT16:
      return table(static_cast<const __nv_bfloat16*>(vectors.rows));
    default:
      return SetError("type of the vectors is " + std::to_string(vectors.type) +
                      ", wanted 0 to 2");
  }
}

template <typename T, typename Rows>
int ScoreRows(const VectorTable<T>& table, const Rows& rows, int64_t num_tiles,
              cudaStream_t stream) {
  NANN_LAUNCH((ScoreVectorsKernel<T, Rows>), NumBlocks(num_tiles),
              kVectorThreads, 0, stream, table, rows);
  return CheckLaunch("scores of vectors");
}

}  // namespace
}  // namespace nann

int NannCudaScoreVectors(const NannCudaSearch* search,
                         const NannCudaVectors* vectors, void* stream) {
  const nann::SearchView& view = search->view;
  const int64_t most = view.queries.num_queries * view.room.tiles;
  if (most == 0) return 0;
  return nann::WithTable(*vectors, [&](const auto& table) {
    return nann::ScoreRows(table, nann::RowsOf(view, search->step), most,
                           nann::ToStream(stream));
  });
}

int NannCudaWalkVectors(NannCudaSearch* search, const NannCudaVectors* vectors,
                        void* stream) {
  const nann::SearchView& view = search->view;
  if (view.is_paper) {
    return nann::SetError("policy is paper, wanted best first: call the steps");
  }
  if (NannCudaSearchStart(search, stream)) return 1;
  if (view.queries.num_queries == 0) return 0;
  return nann::WithTable(*vectors, [&](const auto& table) {
    using T = std::decay_t<decltype(*table.rows)>;
    NANN_LAUNCH(nann::WalkVectorsKernel<T>, view.queries.num_queries,
                search->num_threads, sizeof(nann::StepRoom),
                nann::ToStream(stream), view, table);
    return nann::CheckLaunch("search of vectors");
  });
}

int NannCudaScanVectors(const NannCudaScan* scan,
                        const NannCudaVectors* vectors, void* stream) {
  return nann::WithTable(*vectors, [&](const auto& table) {
    return nann::Scan(*scan, nann::ToStream(stream), [&](const auto& rows) {
      const int64_t tiles =
          (rows.number + nann::kTileRows - 1) / nann::kTileRows;
      return nann::ScoreRows(table, rows, tiles * scan->num_queries,
                             nann::ToStream(stream));
    });
  });
}
