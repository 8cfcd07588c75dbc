// Dot products of few rows with many labels: what prediction of a small batch is made of.
#pragma once

#include "../isa.h"

namespace ES_NS {
namespace {

// z[label, row] of LABELS labels and ROWS rows.
template <int LABELS, int ROWS>
inline void dots(int64_t n, const float *w, int64_t ldw, const float *h, int64_t ldh, float (&z)[LABELS][ROWS]) {
  F sum[LABELS][ROWS];
#pragma GCC unroll 8
  for (int l = 0; l < LABELS; l++) {
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) sum[l][r] = zero();
  }
  int64_t j = 0;
  for (; j + W <= n; j += W) {
#pragma GCC unroll 8
    for (int l = 0; l < LABELS; l++) {
      F x = load(w + l * ldw + j);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; r++) sum[l][r] = fma(x, load(h + r * ldh + j), sum[l][r]);
    }
  }
  int rest = static_cast<int>(n - j);
  for (int l = 0; l < LABELS; l++) {
    for (int r = 0; r < ROWS; r++) {
      F last = sum[l][r];
      if (rest > 0) last = fma(load_n(w + l * ldw + j, rest), load_n(h + r * ldh + j, rest), last);
      z[l][r] = reduce_add(last);
    }
  }
}

}  // namespace
}  // namespace ES_NS
