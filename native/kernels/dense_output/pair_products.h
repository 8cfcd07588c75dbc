// The products of a dense output layer on items of two bfloat16 numbers. An item is as large as a float, so strips and
// panels are packed by the same code, which only moves them.
#pragma once

#include "../output/pairs.h"
#include "products.h"

#if defined(__AVX512F__)

namespace ES_NS {
namespace {

template <int ROWS>
inline void pair_tile(int kc, const float *strip, const float *panel, int64_t step, float *c, int64_t ldc, int cols,
                      const TileEnd &end) {
  F sum[ROWS][NV];
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < NV; v++) sum[i][v] = zero();
  for (int k = 0; k < kc; k++) {
    __m512i b[NV];
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) b[v] = _mm512_loadu_si512(panel + v * W);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
      __m512i a = _mm512_castps_si512(_mm512_set1_ps(strip[i]));
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) sum[i][v] = Pairs::add(a, b[v], sum[i][v]);
    }
    strip += MR;
    panel += step;
  }
  for (int i = 0; i < ROWS; i++) {
    for (int v = 0; v < NV; v++) {
      if (cols > v * W) finish(c + i * ldc + v * W, sum[i][v], cut(cols - v * W, W), end, nullptr);
    }
  }
}

struct PairTiles {
  static inline TileFn of(int rows) {
    static constexpr TileFn fns[] = {pair_tile<1>, pair_tile<2>, pair_tile<3>, pair_tile<4>,
                                     pair_tile<5>, pair_tile<6>, pair_tile<7>, pair_tile<8>};
    return fns[rows - 1];
  }
};

inline int64_t pairs_of(int64_t n) { return (n + 1) / 2; }

// h [batch, inputs] as bfloat16 rows of an even length, a zero behind the last of an odd one.
inline void round_hidden(int64_t batch, int64_t inputs, const float *h, uint16_t *rows) {
  for (int64_t b = 0; b < batch; b++) {
    uint16_t *row = rows + b * 2 * pairs_of(inputs);
    row[2 * pairs_of(inputs) - 1] = 0;
    round_all(inputs, h + b * inputs, row);
  }
}

// Pairs along the batch, [pairs_of(batch), inputs], as panels.
inline void pack_pairs_by_input(int64_t batch, int64_t inputs, const uint16_t *rows, uint32_t *row, float *panels) {
  const int64_t depth = pairs_of(batch), step = 2 * pairs_of(inputs);
  for (int64_t k = 0; k < depth; k++) {
    interleave(inputs, rows + 2 * k * step, 2 * k + 1 < batch ? rows + (2 * k + 1) * step : nullptr, row);
    const float *items = reinterpret_cast<const float *>(row);
    for (int64_t j = 0; j < inputs; j += NR) pack_straight<NR>(cut(inputs - j, NR), 1, items + j, inputs, panels + j * depth + k * NR);
  }
}

}  // namespace
}  // namespace ES_NS

#endif
