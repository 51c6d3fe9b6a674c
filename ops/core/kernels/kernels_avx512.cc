// Compiled with the flags of this instruction set alone: no header of the
// standard library that defines functions may come in, lest the linker keep
// a copy of them that not every processor can run.

#define NANN_KERNELS_NAMESPACE avx512
#define NANN_KERNELS_NAME "avx512"
#define NANN_VECTOR_BYTES 64

#include "ops/core/kernels/kernels_impl.h"
