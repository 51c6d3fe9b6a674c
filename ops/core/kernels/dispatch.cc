#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <cstring>

#include "ops/core/kernels/kernels.h"

namespace nann {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
#endif
namespace baseline {
extern const Kernels kKernels;
}

namespace {

#if defined(__x86_64__)
// __builtin_cpu_supports knows it by name in some compilers only.
bool HasF16c() {
  unsigned int a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}
#endif

struct Available {
  const Kernels* kernels[3];
  int64_t number = 0;

  Available() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      kernels[number++] = &avx512::kKernels;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        HasF16c()) {
      kernels[number++] = &avx2::kKernels;
    }
#endif
    kernels[number++] = &baseline::kKernels;
  }
};

const Available& AvailableKernels() {
  static const Available available;
  return available;
}

const Kernels* Choose() {
  const Available& available = AvailableKernels();
  const char* const wanted = std::getenv("NANN_INSTRUCTION_SET");
  for (int64_t i = 0; wanted != nullptr && i < available.number; ++i) {
    if (std::strcmp(available.kernels[i]->name, wanted) == 0) {
      return available.kernels[i];
    }
  }
  return available.kernels[0];
}

}  // namespace

const Kernels& BestKernels() {
  static const Kernels* const best = Choose();
  return *best;
}

const Kernels* const* AllKernels(int64_t* number) {
  *number = AvailableKernels().number;
  return AvailableKernels().kernels;
}

}  // namespace nann
