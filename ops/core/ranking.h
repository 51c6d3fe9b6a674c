// The order of answers: higher score first, then lower row.

#ifndef NANN_OPS_CORE_RANKING_H_
#define NANN_OPS_CORE_RANKING_H_

#include <cstdint>
#include <cstring>

// The same on a GPU.
#ifdef __CUDACC__
#define NANN_HOST_DEVICE __host__ __device__
#else
#define NANN_HOST_DEVICE
#endif

namespace nann {

// A row with its score as one number that grows from best to worst, so that
// ranking is sorting integers. The lowest bit is free for a mark: two ranked
// rows are never equal, so it does not change their order.
using Ranked = uint64_t;

NANN_HOST_DEVICE inline Ranked Rank(float score, int32_t row) {
  score += 0.0f;  // -0 becomes +0: they are equal, and so must tie.
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof(bits));
  // Turns the order of floats into that of unsigned integers, upside down.
  const uint32_t falling = bits & 0x80000000u ? bits : bits ^ 0x7fffffffu;
  return uint64_t{falling} << 32 | static_cast<uint32_t>(row) << 1;
}

NANN_HOST_DEVICE inline int32_t RowOf(Ranked ranked) {
  return static_cast<int32_t>(static_cast<uint32_t>(ranked) >> 1);
}

NANN_HOST_DEVICE inline float ScoreOf(Ranked ranked) {
  const uint32_t falling = static_cast<uint32_t>(ranked >> 32);
  const uint32_t bits = falling & 0x80000000u ? falling : falling ^ 0x7fffffffu;
  float score;
  std::memcpy(&score, &bits, sizeof(score));
  return score;
}

NANN_HOST_DEVICE inline bool IsMarked(Ranked ranked) { return ranked & 1; }
NANN_HOST_DEVICE inline Ranked Marked(Ranked ranked) { return ranked | 1; }

}  // namespace nann

#endif  // NANN_OPS_CORE_RANKING_H_
