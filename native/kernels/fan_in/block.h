// The inner loops of the fixed fan-in layer on one block of the batch: NV registers of rows.
//   z[l, :]   = bias[l] + sum_k w[l,k] hT[c[l,k], :]
//   dw[l,k]   = sum over rows of G[l, :] hT[c[l,k], :]
//   dhT[j, :] += w[l,k] G[l, :]   for c[l,k] = j
#pragma once

#include "../output/loss.h"

namespace ES_NS {
namespace {

// hT and dhT of one block: [inputs][NV * W], 64-byte aligned, lanes beyond the batch zero in hT.
template <int NV>
inline const float *row_of(const float *base, uint32_t j) {
  return base + static_cast<int64_t>(j) * (NV * W);
}
template <int NV>
inline float *row_of(float *base, uint32_t j) {
  return base + static_cast<int64_t>(j) * (NV * W);
}

// A weight as it is stored: float32, or bfloat16, its upper half.
inline float number(float w) { return w; }
inline float number(uint16_t w) {
  const uint32_t bits = static_cast<uint32_t>(w) << 16;
  float x;
  __builtin_memcpy(&x, &bits, 4);
  return x;
}

// z of one label. Narrow blocks split the sum over k into CHAINS, or each fma would wait for the one before.
template <int NV, class Column, class Weight>
inline void forward_label(int64_t fan_in, const Column *c, const Weight *w, float bias, const float *hT, F *z) {
  constexpr int CHAINS = NV >= 4 ? 2 : NV == 3 ? 2 : NV == 2 ? 4 : 8;
  F sum[CHAINS][NV];
#pragma GCC unroll 8
  for (int s = 0; s < CHAINS; s++) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) sum[s][v] = s == 0 ? set(bias) : zero();
  }
  int64_t k = 0;
  for (; k + CHAINS <= fan_in; k += CHAINS) {
#pragma GCC unroll 8
    for (int s = 0; s < CHAINS; s++) {
      F x = set(number(w[k + s]));
      const float *row = row_of<NV>(hT, c[k + s]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[s][v] = fma(x, load(row + v * W), sum[s][v]);
    }
  }
  for (; k < fan_in; k++) {
    F x = set(number(w[k]));
    const float *row = row_of<NV>(hT, c[k]);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) sum[0][v] = fma(x, load(row + v * W), sum[0][v]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < NV; v++) {
    z[v] = sum[0][v];
#pragma GCC unroll 8
    for (int s = 1; s < CHAINS; s++) z[v] = z[v] + sum[s][v];
  }
}

// dw[0..fan_in) of one label and, interleaved, z of the next one: the forward sum waits for the second-level
// cache, dw works on rows that the forward of the same label has just brought into the first.
template <int NV, bool NEXT, bool ADD, class Column>
inline void weight_gradient(int64_t fan_in, const Column *c, const F *g, float *dw, const Column *next_c,
                            const float *next_w, float next_bias, const float *hT, F *z) {
  constexpr int CHAINS = NV >= 3 ? 1 : NV == 2 ? 2 : 4;
  F sum[CHAINS][NV];
  if constexpr (NEXT) {
#pragma GCC unroll 8
    for (int s = 0; s < CHAINS; s++) {
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[s][v] = s == 0 ? set(next_bias) : zero();
    }
  }
  int64_t k = 0;
  for (; k + GROUP <= fan_in; k += GROUP) {
    F dot[GROUP];
#pragma GCC unroll 16
    for (int j = 0; j < GROUP; j++) {
      if constexpr (NEXT) {
        F x = set(next_w[k + j]);
        const float *row = row_of<NV>(hT, next_c[k + j]);
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) sum[j % CHAINS][v] = fma(x, load(row + v * W), sum[j % CHAINS][v]);
      }
      const float *row = row_of<NV>(hT, c[k + j]);
      dot[j] = g[0] * load(row);
#pragma GCC unroll 8
      for (int v = 1; v < NV; v++) dot[j] = fma(g[v], load(row + v * W), dot[j]);
    }
    if constexpr (ADD) add_group(dw + k, lane_sums(dot));
    else store_group(dw + k, lane_sums(dot));
  }
  for (; k < fan_in; k++) {
    if constexpr (NEXT) {
      F x = set(next_w[k]);
      const float *row = row_of<NV>(hT, next_c[k]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[0][v] = fma(x, load(row + v * W), sum[0][v]);
    }
    const float *row = row_of<NV>(hT, c[k]);
    F dot = g[0] * load(row);
#pragma GCC unroll 8
    for (int v = 1; v < NV; v++) dot = fma(g[v], load(row + v * W), dot);
    dw[k] = (ADD ? dw[k] : 0.0f) + reduce_add(dot);
  }
  if constexpr (NEXT) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      z[v] = sum[0][v];
#pragma GCC unroll 8
      for (int s = 1; s < CHAINS; s++) z[v] = z[v] + sum[s][v];
    }
  }
}

// dhT += the outer product of one label: the compact form.
template <int NV, class Column>
inline void scatter_label(int64_t fan_in, const Column *c, const float *w, const F *g, float *dhT) {
  for (int64_t k = 0; k < fan_in; k++) {
    F x = set(w[k]);
    float *row = row_of<NV>(dhT, c[k]);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) store(row + v * W, fma(x, g[v], load(row + v * W)));
  }
}

}  // namespace
}  // namespace ES_NS
