// An exact scan: every row is scored, in parts, and only what may be among the
// best k is kept. The parts grow, so that most rows come when the limit is
// known well.

#ifndef NANN_OPS_CUDA_SCAN_H_
#define NANN_OPS_CUDA_SCAN_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "ops/cuda/error.h"
#include "ops/cuda/scorers.h"
#include "ops/cuda/scoring.h"

namespace nann {

constexpr int64_t kFirstPartRows = int64_t{1} << 12;

struct ScanMemory {
  ScanState* states;
  uint64_t* keys;  // [B, part]
  uint64_t* sort;
  uint64_t* best[2];  // [B, width], one is read and the other written.
  int64_t part_rows;
  int64_t width;  // min(k, num_rows)
  int64_t sort_size;
  int64_t size_bytes;
};

// Lays out the memory of a scan; without memory, only its size.
ScanMemory LayOutScan(const NannCudaScan& scan);

// Each puts a kernel into the stream, for all queries. The keys of a part join
// the best so far, which are read from one side and written to the other.
void BeginScan(const NannCudaScan& scan, const ScanMemory& memory,
               cudaStream_t stream);
void MergePart(const NannCudaScan& scan, const ScanMemory& memory, int side,
               cudaStream_t stream);
void EndScan(const NannCudaScan& scan, const ScanMemory& memory, int side,
             cudaStream_t stream);

// Scans with any scorer: `score(rows)` puts the scoring of ScanRows into the
// stream and returns 0, or a failure.
template <typename ScorePart>
int Scan(const NannCudaScan& scan, cudaStream_t stream,
         const ScorePart& score) {
  if (scan.num_rows < 1 || scan.num_rows >= INT32_MAX || scan.k < 1) {
    return SetError("num_rows is " + std::to_string(scan.num_rows) + ", k is " +
                    std::to_string(scan.k) + "; wanted at least 1 of each");
  }
  if (scan.num_queries == 0) return 0;
  const ScanMemory memory = LayOutScan(scan);
  BeginScan(scan, memory, stream);
  int side = 0;
  int64_t part =
      std::min(memory.part_rows, std::max(kFirstPartRows, 2 * memory.width));
  for (int64_t first = 0; first < scan.num_rows; first += part) {
    if (first > 0) part = std::min(memory.part_rows, first);
    const ScanRows rows = {memory.states,
                           memory.keys,
                           memory.part_rows,
                           first,
                           std::min(part, scan.num_rows - first),
                           static_cast<int32_t>(scan.num_queries)};
    if (score(rows)) return 1;
    MergePart(scan, memory, side, stream);
    side = 1 - side;
  }
  EndScan(scan, memory, side, stream);
  return CheckLaunch("exact scan");
}

}  // namespace nann

#endif  // NANN_OPS_CUDA_SCAN_H_
