// Hands out one piece of memory in parts.

#ifndef NANN_OPS_CUDA_LAYOUT_H_
#define NANN_OPS_CUDA_LAYOUT_H_

#include <cstdint>

namespace nann {

inline int64_t RoundUp(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Counts what is asked for; the parts are null where there is no memory yet.
class Layout {
 public:
  explicit Layout(void* memory) : memory_(static_cast<char*>(memory)) {}

  template <typename T>
  void Take(int64_t number, T** part) {
    *part = memory_ == nullptr ? nullptr
                               : reinterpret_cast<T*>(memory_ + size_bytes_);
    const int64_t size_bytes = number * static_cast<int64_t>(sizeof(T));
    size_bytes_ = RoundUp(size_bytes_ + size_bytes, kAlignment);
  }

  int64_t size_bytes() const { return size_bytes_; }

 private:
  static constexpr int64_t kAlignment = 256;

  char* memory_;
  int64_t size_bytes_ = 0;
};

}  // namespace nann

#endif  // NANN_OPS_CUDA_LAYOUT_H_
