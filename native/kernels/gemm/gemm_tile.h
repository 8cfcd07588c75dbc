// The innermost product: a register tile c[ROWS, NR] += strip[kc, ROWS] * panel[kc, NR], and packing.
// A strip holds MR rows of op(a), k-major: strip[k * MR + i]. A panel holds NR columns of op(b): panel[k * step + j].
// What stands in them are items: float32 numbers, or pairs of bfloat16 along k, which are as large (items.h).
#pragma once

#include "items.h"

namespace ES_NS {
namespace {

// Measured. Sixteen or twelve accumulators hide the latency of a multiply-add; the strip of KC rows stays in the
// first cache, a few panels in the second.
#if defined(__AVX512F__)
constexpr int MR = 8, NV = 2, KC = 512;
#elif defined(__AVX2__)
constexpr int MR = 4, NV = 3, KC = 384;
#else
constexpr int MR = 4, NV = 8, KC = 256;
#endif
constexpr int NR = NV * W;

// What happens to a finished tile, in this order: + c, + bias, relu.
struct TileEnd {
  bool accumulate;
  const float *bias;  // of the tile's first column, or null
  bool relu;
};

inline void finish(float *c, F sum, int n, const TileEnd &end, const float *bias) {
  if (end.accumulate) sum = sum + load_n(c, n);
  if (bias != nullptr) sum = sum + load_n(bias, n);
  if (end.relu) sum = max_of(zero(), sum);
  store_n(c, sum, n);
}

inline void finish(float *c, F sum, const TileEnd &end, const float *bias) {
  if (end.accumulate) sum = sum + load(c);
  if (bias != nullptr) sum = sum + load(bias);
  if (end.relu) sum = max_of(zero(), sum);
  store(c, sum);
}

template <class Items, int ROWS>
inline void tile(int kc, const float *strip, const float *panel, int64_t step, float *c, int64_t ldc, int cols,
                 const TileEnd &end) {
  F sum[ROWS][NV];
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < NV; v++) sum[i][v] = zero();
  for (int k = 0; k < kc; k++) {
    F b[NV];
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) b[v] = load(panel + v * W);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
      F a = set(strip[i]);
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) sum[i][v] = Items::add(a, b[v], sum[i][v]);
    }
    strip += MR;
    panel += step;
  }
  for (int i = 0; i < ROWS; i++) {
    for (int v = 0; v < NV; v++) {
      float *place = c + i * ldc + v * W;
      const float *bias = end.bias == nullptr ? nullptr : end.bias + v * W;
      if (cols >= (v + 1) * W) {
        finish(place, sum[i][v], end, bias);
      } else if (cols > v * W) {
        finish(place, sum[i][v], cols - v * W, end, bias);
      }
    }
  }
}

using TileFn = void (*)(int, const float *, const float *, int64_t, float *, int64_t, int, const TileEnd &);

template <class Items = Singles>
inline TileFn tile_of(int rows) {
  static constexpr TileFn fns[] = {
      tile<Items, 1>, tile<Items, 2>, tile<Items, 3>, tile<Items, 4>,
#if defined(__AVX512F__)
      tile<Items, 5>, tile<Items, 6>, tile<Items, 7>, tile<Items, 8>,
#endif
  };
  return fns[rows - 1];
}

// dst[k * stride + r] = src[r * ld + k] for r < rows, k < kc; rows of a block beyond `rows` repeat the last one.
template <int BLOCK>
inline void transpose_rows(int rows, int kc, const float *src, int64_t ld, float *dst, int stride) {
  const float *row[BLOCK];
  for (int r = 0; r < BLOCK; r++) row[r] = src + (r < rows ? r : rows - 1) * ld;
  int k = 0;
#if defined(__AVX2__)
  static_assert(BLOCK == 4 || BLOCK == 8, "");
  for (; k + 8 <= kc; k += 8) {
    __m256 x[8];
    for (int r = 0; r < BLOCK; r++) x[r] = _mm256_loadu_ps(row[r] + k);
    for (int g = 0; g < BLOCK; g += 4) {
      __m256 t0 = _mm256_unpacklo_ps(x[g], x[g + 1]), t1 = _mm256_unpackhi_ps(x[g], x[g + 1]);
      __m256 t2 = _mm256_unpacklo_ps(x[g + 2], x[g + 3]), t3 = _mm256_unpackhi_ps(x[g + 2], x[g + 3]);
      x[g] = _mm256_shuffle_ps(t0, t2, 0x44);
      x[g + 1] = _mm256_shuffle_ps(t0, t2, 0xEE);
      x[g + 2] = _mm256_shuffle_ps(t1, t3, 0x44);
      x[g + 3] = _mm256_shuffle_ps(t1, t3, 0xEE);
    }
    float *to = dst + static_cast<int64_t>(k) * stride;
    for (int i = 0; i < 4; i++) {
      if constexpr (BLOCK == 8) {
        _mm256_storeu_ps(to + i * stride, _mm256_permute2f128_ps(x[i], x[4 + i], 0x20));
        _mm256_storeu_ps(to + (i + 4) * stride, _mm256_permute2f128_ps(x[i], x[4 + i], 0x31));
      } else {
        _mm_storeu_ps(to + i * stride, _mm256_castps256_ps128(x[i]));
        _mm_storeu_ps(to + (i + 4) * stride, _mm256_extractf128_ps(x[i], 1));
      }
    }
  }
#endif
  for (; k < kc; k++)
    for (int r = 0; r < BLOCK; r++) dst[static_cast<int64_t>(k) * stride + r] = row[r][k];
}

// A strip or panel of WIDTH lanes from a source whose rows are the lanes (contiguous in k).
template <int WIDTH>
inline void pack_transposed(int lanes, int kc, const float *src, int64_t ld, float *dst) {
  constexpr int BLOCK = WIDTH % 8 == 0 ? 8 : 4;
  for (int r = 0; r < lanes; r += BLOCK) {
    transpose_rows<BLOCK>(lanes - r < BLOCK ? lanes - r : BLOCK, kc, src + r * ld, ld, dst + r, WIDTH);
  }
}

// The same from a source whose rows are k (contiguous over the lanes). Lanes beyond `lanes` are left unset:
// their products are never stored.
template <int WIDTH>
inline void pack_straight(int lanes, int kc, const float *src, int64_t ld, float *dst) {
  for (int k = 0; k < kc; k++, src += ld, dst += WIDTH) {
    if (lanes == WIDTH) {
      __builtin_memcpy(dst, src, WIDTH * sizeof(float));
    } else {
      for (int r = 0; r < lanes; r++) dst[r] = src[r];
    }
  }
}

}  // namespace
}  // namespace ES_NS
