// What a search may assume is checked here, once, at the boundary.
//
// Each function returns what is wrong, in a sentence with name, value got and
// value wanted, or "" if nothing is.

#ifndef NANN_OPS_CORE_VALIDATE_H_
#define NANN_OPS_CORE_VALIDATE_H_

#include <cstdint>
#include <string>

#include "ops/core/beam_search.h"

namespace nann {

// Hops of a search level by level: each one takes room in what is counted, even
// where there is nothing to score.
constexpr int64_t kMaxHops = 1 << 20;

std::string FindFault(const PaperPolicy& policy, int64_t num_levels);
std::string FindFault(const BestFirstPolicy& policy);

// Negative rows are padding; all others must be below num_rows.
std::string FindFault(const Query& query, int64_t num_rows);

}  // namespace nann

#endif  // NANN_OPS_CORE_VALIDATE_H_
