// The inner loops, chosen once for the processor at hand.
//
// One source (kernels_impl.h) is compiled for several instruction sets; the
// program runs on any machine and uses the best set that the machine has.

#ifndef NANN_OPS_CORE_KERNELS_KERNELS_H_
#define NANN_OPS_CORE_KERNELS_KERNELS_H_

#include <cstdint>

namespace nann {

struct PairHistory;
struct PairItems;
struct PairKeys;
struct PairModel;
struct PairUserModel;
struct TermItems;
struct TermUser;

// Rows that go through a scorer of pairs together.
constexpr int64_t kPairBlock = 24;

struct Kernels {
  const char* name;  // Of the instruction set.

  // Scores of rows[i] of a [num_rows, d] float32 table: minus the squared
  // Euclidean distance to the query [d], and the inner product with it.
  void (*score_l2)(const float* query, const float* table, int64_t d,
                   const int32_t* rows, int64_t n, float* scores);
  void (*score_ip)(const float* query, const float* table, int64_t d,
                   const int32_t* rows, int64_t n, float* scores);

  // The same of rows[i] of a table of codes (ops/core/codes.h), `stride` bytes
  // a row, in units of the codes.
  void (*score_codes_l2)(const uint8_t* query, const uint8_t* codes,
                         int64_t stride, const int32_t* rows, int64_t n,
                         float* scores);
  void (*score_codes_ip)(const int8_t* query, const uint8_t* codes,
                         int64_t stride, const int32_t* rows, int64_t n,
                         float* scores);

  // See ops/core/pair_scorer.h.
  void (*score_pairs)(const PairModel& model, const PairItems& items,
                      float* scratch, float* scores);

  // See ops/core/pair_user.h; without what the mask adds.
  void (*make_pair_keys)(const PairUserModel& model, const PairHistory& history,
                         float* scratch, const PairKeys& result);

  // See ops/core/term_scorer.h; writes s to scores, and masses where there are
  // ids to say them by.
  void (*score_terms)(const TermUser& user, const TermItems& items,
                      float* scratch, float* scores, float* masses);
};

// The kernels of the best instruction set of this processor, or of the one that
// the environment variable NANN_INSTRUCTION_SET names (avx512, avx2, baseline)
// if the processor has it.
const Kernels& BestKernels();

// All that were compiled and that this processor can run; for tests.
const Kernels* const* AllKernels(int64_t* number);

}  // namespace nann

#endif  // NANN_OPS_CORE_KERNELS_KERNELS_H_
