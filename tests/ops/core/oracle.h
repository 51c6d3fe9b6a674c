// The definition of both policies once more: tests/oracle.py, line by line.

#ifndef NANN_TESTS_OPS_CORE_ORACLE_H_
#define NANN_TESTS_OPS_CORE_ORACLE_H_

#include <cstdint>
#include <vector>

#include "tests/ops/core/random_world.h"

namespace nann::testing {

struct Found {
  std::vector<int32_t> rows;
  std::vector<float> scores;
  std::vector<int32_t> num_scored;
};

Found SearchPaper(const World& world);
Found SearchBestFirst(const World& world);

}  // namespace nann::testing

#endif  // NANN_TESTS_OPS_CORE_ORACLE_H_
