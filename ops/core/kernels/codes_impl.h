// The kernels of codes (ops/core/codes.h); a part of kernels_impl.h, included
// inside its namespace. No include guard on purpose.

// Squared differences of codes, and products of signed with unsigned ones. The
// sum of two fits 16 bits, as codes have 7: what the instructions rely on.
#if defined(__AVX512F__)
constexpr int64_t kCodesAtOnce = 64;
typedef __m512i CodeSum;

inline CodeSum Widen(CodeSum sum, __m512i pairs) {
  const __m512i fours = _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
  return _mm512_add_epi32(sum, fours);
}

inline CodeSum AddL2(CodeSum sum, const uint8_t* a, const uint8_t* b) {
  const __m512i apart = _mm512_abs_epi8(
      _mm512_sub_epi8(_mm512_loadu_si512(a), _mm512_loadu_si512(b)));
  return Widen(sum, _mm512_maddubs_epi16(apart, apart));
}

inline CodeSum AddIp(CodeSum sum, const int8_t* a, const uint8_t* b) {
  return Widen(
      sum, _mm512_maddubs_epi16(_mm512_loadu_si512(b), _mm512_loadu_si512(a)));
}

inline int32_t Total(CodeSum sum) { return _mm512_reduce_add_epi32(sum); }
#elif defined(__AVX2__)
constexpr int64_t kCodesAtOnce = 32;
typedef __m256i CodeSum;

inline __m256i LoadCodes(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

inline CodeSum Widen(CodeSum sum, __m256i pairs) {
  const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  return _mm256_add_epi32(sum, fours);
}

inline CodeSum AddL2(CodeSum sum, const uint8_t* a, const uint8_t* b) {
  const __m256i apart =
      _mm256_abs_epi8(_mm256_sub_epi8(LoadCodes(a), LoadCodes(b)));
  return Widen(sum, _mm256_maddubs_epi16(apart, apart));
}

inline CodeSum AddIp(CodeSum sum, const int8_t* a, const uint8_t* b) {
  return Widen(sum, _mm256_maddubs_epi16(LoadCodes(b), LoadCodes(a)));
}

inline int32_t Total(CodeSum sum) {
  int32_t lanes[8];
  std::memcpy(lanes, &sum, sizeof(lanes));
  return lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] +
         lanes[6] + lanes[7];
}
#else
constexpr int64_t kCodesAtOnce = 16;
typedef int32_t CodeSum;

inline CodeSum AddL2(CodeSum sum, const uint8_t* a, const uint8_t* b) {
  for (int64_t i = 0; i < kCodesAtOnce; ++i) {
    const int16_t apart = static_cast<int16_t>(a[i] - b[i]);
    sum += apart * apart;
  }
  return sum;
}

inline CodeSum AddIp(CodeSum sum, const int8_t* a, const uint8_t* b) {
  for (int64_t i = 0; i < kCodesAtOnce; ++i) sum += int32_t{a[i]} * b[i];
  return sum;
}

inline int32_t Total(CodeSum sum) { return sum; }
#endif

void ScoreCodesL2(const uint8_t* query, const uint8_t* codes, int64_t stride,
                  const int32_t* rows, int64_t n, float* scores) {
  for (int64_t r = 0; r < n; ++r) {
    const uint8_t* const row = codes + rows[r] * stride;
    CodeSum sum = {};
    for (int64_t i = 0; i < stride; i += kCodesAtOnce) {
      sum = AddL2(sum, query + i, row + i);
    }
    scores[r] = -static_cast<float>(Total(sum));
  }
}

void ScoreCodesIp(const int8_t* query, const uint8_t* codes, int64_t stride,
                  const int32_t* rows, int64_t n, float* scores) {
  for (int64_t r = 0; r < n; ++r) {
    const uint8_t* const row = codes + rows[r] * stride;
    CodeSum sum = {};
    for (int64_t i = 0; i < stride; i += kCodesAtOnce) {
      sum = AddIp(sum, query + i, row + i);
    }
    scores[r] = static_cast<float>(Total(sum));
  }
}
