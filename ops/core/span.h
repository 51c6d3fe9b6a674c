// A view of an array that somebody else owns (std::span is C++20).

#ifndef NANN_OPS_CORE_SPAN_H_
#define NANN_OPS_CORE_SPAN_H_

#include <cstdint>
#include <type_traits>
#include <vector>

namespace nann {

template <typename T>
class Span {
 public:
  constexpr Span() = default;
  constexpr Span(T* data, int64_t size) : data_(data), size_(size) {}

  // From a vector of T, where T may add a const.
  using Value = std::remove_const_t<T>;
  Span(const std::vector<Value>& values)  // NOLINT: a view of it is meant.
      : data_(values.data()), size_(static_cast<int64_t>(values.size())) {}

  constexpr T* data() const { return data_; }
  constexpr int64_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr T* begin() const { return data_; }
  constexpr T* end() const { return data_ + size_; }
  constexpr T& operator[](int64_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace nann

#endif  // NANN_OPS_CORE_SPAN_H_
