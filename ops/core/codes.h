// Vectors as codes of seven bits a number.
//
// A search over vectors waits for memory: codes take a quarter of it, and a
// score of 64 numbers is three instructions. Seven bits, not eight, so that
// sums of two squares fit 16 bits. What codes blur, the exact scores of the
// beam at the end of a search put right.

#ifndef NANN_OPS_CORE_CODES_H_
#define NANN_OPS_CORE_CODES_H_

#include <cstdint>

#include "ops/core/span.h"

namespace nann {

// Rows of codes begin at cache lines and are filled up with zeros.
constexpr int64_t kCodeLine = 64;
constexpr int kLargestCode = 127;

// code = (x - offset) / step, rounded and clipped. One step for all numbers of
// a vector keeps distances comparable.
struct CodeScale {
  Span<const float> offset;  // [width]
  float step = 1.0f;
};

// Bytes of a row.
inline int64_t CodeStride(int64_t width) {
  return (width + kCodeLine - 1) / kCodeLine * kCodeLine;
}

// Writes the codes of a vector, CodeStride(width) bytes.
void Encode(const CodeScale& scale, const float* vector, uint8_t* codes);

// Writes a query for inner products with codes: signed, and scaled so that its
// largest number is 127. Offsets need no place in it: they add the same to the
// score of every row.
void EncodeDirection(const CodeScale& scale, const float* query, int8_t* codes);

}  // namespace nann

#endif  // NANN_OPS_CORE_CODES_H_
