// What register tiles multiply: float32 numbers, or pairs of bfloat16 numbers, which are as large.
#pragma once

#include "../isa.h"

namespace ES_NS {
namespace {

struct Singles {
  static constexpr int NUMBERS = 1;
  using Item = float;
  using Register = F;
  static inline F row(const float *p) { return load(p); }
  static inline F every(float x) { return set(x); }
  static inline F add(F a, F b, F sum) { return fma(a, b, sum); }
};

#if defined(__AVX512F__)

// The dot product of pairs (AVX512-BF16): sum += a.low b.low + a.high b.high, in float32. Pairs lie along the inputs,
// the labels or the batch, as a product needs them; what is odd gets a zero beside it.
// NOTE: written out, so that the other kernels of this level do not need a compiler flag that lets the compiler use
// the extension everywhere. Run only where es_has_bf16() says so.
struct Pairs {
  static constexpr int NUMBERS = 2;
  using Item = uint32_t;
  using Register = __m512i;
  static inline __m512i row(const uint32_t *p) { return _mm512_loadu_si512(p); }
  static inline __m512i every(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
  static inline F add(__m512i a, __m512i b, F sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.v) : "v"(a), "v"(b));
    return sum;
  }
  static inline F add(F a, F b, F sum) { return add(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v), sum); }
};

// Nearest, ties to even.
inline __m256i round_bf16(F a) {
  __m256i out;
  asm("vcvtneps2bf16 %1, %0" : "=v"(out) : "v"(a.v));
  return out;
}

inline void round_all(int64_t n, const float *from, uint16_t *to) {
  for (int64_t i = 0; i < n; i += W) {
    const __m256i x = round_bf16(load_n(from + i, n - i < W ? static_cast<int>(n - i) : W));
    if (n - i >= W) _mm256_storeu_si256(reinterpret_cast<__m256i *>(to + i), x);
    else _mm256_mask_storeu_epi16(to + i, static_cast<__mmask16>((1u << (n - i)) - 1u), x);
  }
}

// out[i] = low[i] | high[i] << 16, sixteen at a time; high may be null.
inline void interleave(int64_t n, const uint16_t *low, const uint16_t *high, uint32_t *out) {
  for (int64_t i = 0; i < n; i += W) {
    const __mmask16 mask = n - i < W ? static_cast<__mmask16>((1u << (n - i)) - 1u) : static_cast<__mmask16>(0xFFFF);
    __m512i pair = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, low + i));
    if (high != nullptr) {
      const __m512i above = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, high + i));
      pair = _mm512_or_si512(pair, _mm512_slli_epi32(above, 16));
    }
    _mm512_mask_storeu_epi32(out + i, mask, pair);
  }
}

// Rows [rows, n] of bfloat16 as pairs of neighbouring rows [(rows + 1) / 2, n].
template <class RowOf>
inline void pair_rows(int64_t rows, int64_t n, const RowOf &row_of, uint32_t *out) {
  for (int64_t r = 0; r < rows; r += 2) {
    interleave(n, row_of(r), r + 1 < rows ? row_of(r + 1) : nullptr, out + r / 2 * n);
  }
}

#endif

}  // namespace
}  // namespace ES_NS
