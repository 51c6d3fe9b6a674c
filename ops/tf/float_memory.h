// Working memory of a thread, kept for its next call.

#ifndef NANN_OPS_TF_FLOAT_MEMORY_H_
#define NANN_OPS_TF_FLOAT_MEMORY_H_

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace nann {

// Returns room for `size` floats, aligned to 64 bytes. What it held is lost at
// the thread's next call.
inline float* FloatMemory(int64_t size) {
  struct Freed {
    void operator()(float* memory) const { std::free(memory); }
  };
  thread_local std::unique_ptr<float, Freed> memory;
  thread_local int64_t capacity = 0;
  if (capacity < size) {
    const size_t bytes = (size * sizeof(float) + 63) / 64 * 64;
    memory.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
    capacity = size;
  }
  return memory.get();
}

}  // namespace nann

#endif  // NANN_OPS_TF_FLOAT_MEMORY_H_
