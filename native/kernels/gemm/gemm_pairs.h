// gemm_st with both operands rounded to bfloat16 as they are packed, two numbers of k in one item: half the
// multiply-adds in instructions, sums still in float32.
#pragma once

#include "gemm_block.h"

namespace ES_NS {
namespace {

using GemmFn = void (*)(const Operands &, int64_t, int64_t, int64_t, float *, int64_t, const TileEnd &, float *);

#if defined(__AVX512F__)

// Sixteen items from the halves of a register: low[i] | high[i] << 16.
inline __m256i woven(__m256i low_high) {
  const __m256i order = _mm256_setr_epi16(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  return _mm256_permutexvar_epi16(order, low_high);
}

inline __m512i woven(F low, F high) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,  //
                                         23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512i rounded;
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(rounded) : "v"(low.v), "v"(high.v));
  return _mm512_permutexvar_epi16(order, rounded);
}

// Lanes lie along the rows of src, k goes down: pairs are of neighbouring rows, zeros below the last of an odd number.
inline void pack_strip_straight(int lanes, int kc, const float *src, int64_t ld, float *to) {
  static_assert(MR == 8, "one register of two rows");
  const __mmask8 mask = static_cast<__mmask8>((1u << lanes) - 1u);
  for (int k = 0; k < kc; k += 2, src += 2 * ld, to += MR) {
    const __m256 low = _mm256_maskz_loadu_ps(mask, src);
    const __m256 high = k + 1 < kc ? _mm256_maskz_loadu_ps(mask, src + ld) : _mm256_setzero_ps();
    const F both = {_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1)};
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), woven(round_bf16(both)));
  }
}

inline void pack_panel_straight(int lanes, int kc, const float *src, int64_t ld, float *to) {
  for (int k = 0; k < kc; k += 2, src += 2 * ld, to += NR) {
    for (int v = 0; v < lanes; v += W) {
      const int n = lanes - v < W ? lanes - v : W;
      const F low = load_n(src + v, n), high = k + 1 < kc ? load_n(src + ld + v, n) : zero();
      _mm512_storeu_si512(to + v, woven(low, high));
    }
  }
}

// Lanes are the rows of src, k goes along them: pairs lie beside each other once rounded.
template <int WIDTH>
inline void pack_pairs_transposed(int lanes, int kc, const float *src, int64_t ld, float *to) {
  constexpr int BLOCK = 8;
  alignas(64) float rounded[BLOCK * KC];
  const int items = (kc + 1) / 2;
  for (int r = 0; r < lanes; r += BLOCK) {
    const int rows = lanes - r < BLOCK ? lanes - r : BLOCK;
    for (int i = 0; i < rows; i++) {
      const float *from = src + (r + i) * ld;
      for (int k = 0; k < kc; k += W) {
        const int n = kc - k < W ? kc - k : W;
        const __m256i numbers = round_bf16(load_n(from + k, n));
        // An odd number's last pair has the zero that load_n brought.
        const __mmask8 mask = static_cast<__mmask8>((1u << ((n + 1) / 2)) - 1u);
        _mm256_mask_storeu_epi32(rounded + i * KC + k / 2, mask, numbers);
      }
    }
    transpose_rows<BLOCK>(rows, items, rounded, KC, to + r, WIDTH);
  }
}

inline void pack_strip(Pairs, const Operands &in, int64_t k0, int kc, int64_t i, int rows, float *to) {
  if (in.trans_a) pack_strip_straight(rows, kc, in.a + k0 * in.lda + i, in.lda, to);
  else pack_pairs_transposed<MR>(rows, kc, in.a + i * in.lda + k0, in.lda, to);
}

inline void pack_panels(Pairs, const Operands &in, int64_t k0, int kc, int64_t j, int64_t count, float *to) {
  const int64_t items = (kc + 1) / 2;
  for (int64_t p = 0; p < count; p += NR, to += items * NR) {
    const int cols = count - p < NR ? static_cast<int>(count - p) : NR;
    if (in.trans_b) pack_pairs_transposed<NR>(cols, kc, in.b + (j + p) * in.ldb + k0, in.ldb, to);
    else pack_panel_straight(cols, kc, in.b + k0 * in.ldb + j + p, in.ldb, to);
  }
}

#endif

// The product on one thread: of pairs where that is allowed and the processor has them.
inline GemmFn gemm_of(bool pairs) {
#if defined(__AVX512F__)
  if (pairs && es_has_bf16()) return gemm_st<Pairs>;
#endif
  (void)pairs;
  return gemm_st<Singles>;
}

}  // namespace
}  // namespace ES_NS
