#include "ops/core/codes.h"

#include <algorithm>
#include <cmath>

namespace nann {

void Encode(const CodeScale& scale, const float* vector, uint8_t* codes) {
  const int64_t width = scale.offset.size();
  const float per_step = 1.0f / scale.step;
  constexpr float kMost = kLargestCode;
  for (int64_t i = 0; i < width; ++i) {
    const float code = (vector[i] - scale.offset[i]) * per_step;
    const float inside = std::min(std::max(code, 0.0f), kMost);
    codes[i] = static_cast<uint8_t>(inside + 0.5f);
  }
  std::fill(codes + width, codes + CodeStride(width), uint8_t{0});
}

void EncodeDirection(const CodeScale& scale, const float* query,
                     int8_t* codes) {
  const int64_t width = scale.offset.size();
  float largest = 0.0f;
  for (int64_t i = 0; i < width; ++i) {
    largest = std::max(largest, std::fabs(query[i]));
  }
  const float factor = largest > 0.0f ? kLargestCode / largest : 0.0f;
  for (int64_t i = 0; i < width; ++i) {
    codes[i] = static_cast<int8_t>(std::lrintf(query[i] * factor));
  }
  std::fill(codes + width, codes + CodeStride(width), int8_t{0});
}

}  // namespace nann
