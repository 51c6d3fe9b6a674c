// The kernels of every instruction set, and numbers that fit every type of
// state.

#ifndef NANN_TESTS_OPS_CORE_KERNEL_INPUTS_H_
#define NANN_TESTS_OPS_CORE_KERNEL_INPUTS_H_

#include <cstdint>
#include <cstring>
#include <vector>

#include "ops/core/kernels/kernels.h"
#include "ops/core/state_type.h"
#include "tests/ops/core/random_world.h"

namespace nann::testing {

inline std::vector<const Kernels*> EveryKernel() {
  int64_t number;
  const Kernels* const* const all = AllKernels(&number);
  return {all, all + number};
}

// Multiples of 1/8 from -1 to 1: exact in every type of state.
inline std::vector<float> Eighths(int64_t size, Random* random) {
  std::vector<float> numbers(size);
  for (float& number : numbers) {
    number = static_cast<float>(Below(17, random) - 8) / 8;
  }
  return numbers;
}

// The same numbers in two bytes each; they fit exactly.
inline std::vector<uint16_t> Halves(const std::vector<float>& numbers,
                                    StateType type) {
  std::vector<uint16_t> halves;
  for (const float number : numbers) {
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof(bits));
    if (type == StateType::kBfloat16) {
      halves.push_back(static_cast<uint16_t>(bits >> 16));
      continue;
    }
    const uint32_t sign = bits >> 31 << 15;
    const uint32_t magnitude = (bits & 0x7fffffff) >> 13;
    // The exponent of a half counts from 15, not from 127.
    const uint32_t half = number == 0 ? 0 : magnitude - (112 << 10);
    halves.push_back(static_cast<uint16_t>(sign | half));
  }
  return halves;
}

}  // namespace nann::testing

#endif  // NANN_TESTS_OPS_CORE_KERNEL_INPUTS_H_
