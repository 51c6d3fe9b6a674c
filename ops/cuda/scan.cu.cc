// What an exact scan does besides scoring.

#include "ops/cuda/scan.h"

#include "ops/cuda/block.h"
#include "ops/cuda/layout.h"

namespace nann {
namespace {

constexpr int64_t kPartRows = int64_t{1} << 18;
constexpr int kScanThreads = 512;

__global__ void BeginKernel(ScanState* states) {
  if (threadIdx.x == 0) {
    states[blockIdx.x] = {~uint64_t{0}, 0, 0, INT32_MAX};
  }
}

__global__ void MergeKernel(ScanMemory memory, const uint64_t* best,
                            uint64_t* merged) {
  BlockRoom* const room = reinterpret_cast<BlockRoom*>(SharedMemory());
  ScanState* const state = memory.states + blockIdx.x;
  const int32_t width = static_cast<int32_t>(memory.width);
  merged += blockIdx.x * memory.width;
  const int32_t size =
      MergeBest(room, best + blockIdx.x * memory.width, state->size,
                memory.keys + blockIdx.x * memory.part_rows, state->num_found,
                width, memory.sort + blockIdx.x * memory.sort_size, merged);
  if (threadIdx.x == 0) {
    state->size = size;
    state->num_found = 0;
    if (size == width) state->limit = merged[size - 1];
  }
}

__global__ void EndKernel(ScanMemory memory, const uint64_t* best,
                          NannCudaScan scan) {
  const ScanState state = memory.states[blockIdx.x];
  best += blockIdx.x * memory.width;
  for (int64_t i = threadIdx.x; i < scan.k; i += blockDim.x) {
    const bool is_there = i < state.size;
    scan.rows[blockIdx.x * scan.k + i] = is_there ? RowOf(best[i]) : -1;
    scan.scores[blockIdx.x * scan.k + i] =
        is_there ? ScoreOf(best[i]) : -INFINITY;
  }
  if (threadIdx.x == 0) {
    const bool is_bad = state.fault_row != INT32_MAX;
    scan.faults[2 * blockIdx.x] =
        is_bad ? NANN_CUDA_NOT_A_NUMBER : NANN_CUDA_NO_FAULT;
    scan.faults[2 * blockIdx.x + 1] = is_bad ? state.fault_row : -1;
  }
}

}  // namespace

ScanMemory LayOutScan(const NannCudaScan& scan) {
  ScanMemory memory = {};
  const int64_t part = scan.part_rows > 0 ? scan.part_rows : kPartRows;
  memory.part_rows = std::min(part, scan.num_rows);
  memory.width = std::min(scan.k, scan.num_rows);
  const int64_t sort = PowerOfTwo(std::min(memory.width, memory.part_rows));
  memory.sort_size = sort <= kSortRoom ? 0 : sort;
  Layout layout(scan.memory);
  layout.Take(scan.num_queries, &memory.states);
  layout.Take(scan.num_queries * memory.part_rows, &memory.keys);
  layout.Take(scan.num_queries * memory.sort_size, &memory.sort);
  for (uint64_t*& best : memory.best) {
    layout.Take(scan.num_queries * memory.width, &best);
  }
  memory.size_bytes = layout.size_bytes();
  return memory;
}

void BeginScan(const NannCudaScan& scan, const ScanMemory& memory,
               cudaStream_t stream) {
  NANN_LAUNCH(BeginKernel, scan.num_queries, kWarp, 0, stream, memory.states);
}

void MergePart(const NannCudaScan& scan, const ScanMemory& memory, int side,
               cudaStream_t stream) {
  NANN_LAUNCH(MergeKernel, scan.num_queries, kScanThreads, sizeof(BlockRoom),
              stream, memory, memory.best[side], memory.best[1 - side]);
}

void EndScan(const NannCudaScan& scan, const ScanMemory& memory, int side,
             cudaStream_t stream) {
  NANN_LAUNCH(EndKernel, scan.num_queries, kScanThreads, 0, stream, memory,
              memory.best[side], scan);
}

}  // namespace nann

int64_t NannCudaScanBytes(const NannCudaScan* scan) {
  return nann::LayOutScan(*scan).size_bytes;
}
