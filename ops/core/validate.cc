#include "ops/core/validate.h"

namespace nann {
namespace {

std::string TooSmall(const char* name, int64_t got) {
  return std::string(name) + " is " + std::to_string(got) +
         ", wanted at least 1";
}

std::string FindFault(const char* name, Span<const int32_t> rows,
                      int64_t num_rows) {
  for (int64_t i = 0; i < rows.size(); ++i) {
    if (rows[i] >= num_rows) {
      return std::string(name) + "[" + std::to_string(i) +
             "] = " + std::to_string(rows[i]) + " is outside [0, " +
             std::to_string(num_rows) + ")";
    }
  }
  return "";
}

}  // namespace

std::string FindFault(const PaperPolicy& policy, int64_t num_levels) {
  const int64_t wanted = num_levels + 1;
  int64_t num_steps = 0;
  for (const int32_t hops : policy.hops) num_steps += hops;
  for (const auto* list : {&policy.widths, &policy.hops}) {
    const bool is_widths = list == &policy.widths;
    const char* const name = is_widths ? "widths" : "hops";
    const int64_t size = static_cast<int64_t>(list->size());
    if (size != wanted && !(is_widths && size == num_steps)) {
      return std::string(name) + " has " + std::to_string(size) +
             " entries, wanted " + std::to_string(wanted) +
             ": one for each level and one for the entry points" +
             (is_widths ? ", or one for each of " + std::to_string(num_steps) +
                              " steps"
                        : "");
    }
    for (size_t i = 0; i < list->size(); ++i) {
      if ((*list)[i] < 1) {
        return std::string(name) + "[" + std::to_string(i) + "] is " +
               std::to_string((*list)[i]) + ", wanted at least 1";
      }
    }
  }
  if (policy.hops.back() != 1) {
    return "hops ends with " + std::to_string(policy.hops.back()) +
           ", wanted 1: the entry points are scored once";
  }
  if (num_steps > kMaxHops) {
    return "hops add up to " + std::to_string(num_steps) + ", wanted at most " +
           std::to_string(kMaxHops);
  }
  return "";
}

std::string FindFault(const BestFirstPolicy& policy) {
  if (policy.ef < 1) return TooSmall("ef", policy.ef);
  if (policy.width < 1) return TooSmall("width", policy.width);
  if (policy.max_steps < 1) return TooSmall("max_steps", policy.max_steps);
  if (policy.max_evaluations < 1) {
    return TooSmall("max_evaluations", policy.max_evaluations);
  }
  return "";
}

std::string FindFault(const Query& query, int64_t num_rows) {
  if (query.k < 1) return TooSmall("k", query.k);
  std::string fault = FindFault("expand", query.expand, num_rows);
  if (fault.empty()) {
    fault = FindFault("only_score", query.only_score, num_rows);
  }
  if (fault.empty()) {
    fault = FindFault("denied", query.filter.denied, num_rows);
  }
  return fault;
}

}  // namespace nann
