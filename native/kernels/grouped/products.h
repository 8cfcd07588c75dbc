// The three products of one group, labels that share their inputs, on one block of the batch: NV registers of rows.
//   Z = W H + bias,   dW = G H^T,   dH += W^T G;   W [labels, F], H [F, NV * W] the gathered inputs, G [labels, NV * W]
#pragma once

#include "../output/step.h"

namespace ES_NS {
namespace {

// Rows of a register tile of NV columns: enough sums to hide the latency of a multiply-add, no more than fit.
template <int NV>
constexpr int tile_rows() {
  if (W == 16) return NV == 4 ? 6 : 8;
  if (W == 8) return NV == 4 ? 2 : NV == 3 ? 3 : NV == 2 ? 4 : 8;
  return NV > 4 ? 1 : 2;
}

// sum[r][v] = sum over k of a[r * row_step + k * step] * panel[k][v], k ascending whatever the tile.
template <int R, int NV>
inline void tile_sums(int64_t depth, const float *a, int64_t row_step, int64_t step, const float *panel, F (&sum)[R][NV]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) sum[r][v] = zero();
  }
  const float *row[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) row[r] = a + r * row_step;
  for (int64_t k = 0; k < depth; k++, panel += NV * W) {
    F b[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) b[v] = load(panel + v * W);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      F x = set(row[r][k * step]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[r][v] = fma(x, b[v], sum[r][v]);
    }
  }
}

// body(Width<R>, i): rows [i, i + R), R at most MOST.
template <int R, class Body>
inline void last_tile(int64_t rows, int64_t i, const Body &body) {
  if (rows == R) return body(Width<R>{}, i);
  if constexpr (R > 1) last_tile<R - 1>(rows, i, body);
}
template <int MOST, class Body>
inline void each_tile(int64_t rows, const Body &body) {
  int64_t i = 0;
  for (; i + MOST <= rows; i += MOST) body(Width<MOST>{}, i);
  if constexpr (MOST > 1) last_tile<MOST - 1>(rows - i, i, body);
}

// H: the rows of hT that the group reads.
template <int NV, class Column>
inline void gather_inputs(int64_t fan_in, const Column *columns, const float *hT, float *panel) {
  for (int64_t k = 0; k < fan_in; k++) {
    const float *row = hT + static_cast<int64_t>(columns[k]) * (NV * W);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) store(panel + (k * NV + v) * W, load(row + v * W));
  }
}

template <int NV>
inline void group_logits(int64_t labels, int64_t fan_in, const float *w, const float *bias, const float *panel, float *z) {
  each_tile<tile_rows<NV>()>(labels, [&](auto rows, int64_t i) {
    constexpr int R = decltype(rows)::value;
    F sum[R][NV];
    tile_sums<R, NV>(fan_in, w + i * fan_in, fan_in, 1, panel, sum);
    for (int r = 0; r < R; r++) {
      F own = set(bias[i + r]);
      for (int v = 0; v < NV; v++) store(z + ((i + r) * NV + v) * W, sum[r][v] + own);
    }
  });
}

// dhT[columns[k], :] += sum over labels of w[l, k] G[l, :]
template <int NV, class Column>
inline void group_hidden(int64_t labels, int64_t fan_in, const Column *columns, const float *w, const float *G, float *dhT) {
  each_tile<tile_rows<NV>()>(fan_in, [&](auto rows, int64_t k) {
    constexpr int R = decltype(rows)::value;
    F sum[R][NV];
    tile_sums<R, NV>(labels, w + k, 1, fan_in, G, sum);
    for (int r = 0; r < R; r++) {
      float *row = dhT + static_cast<int64_t>(columns[k + r]) * (NV * W);
      for (int v = 0; v < NV; v++) store(row + v * W, load(row + v * W) + sum[r][v]);
    }
  });
}

// dw[row_of(i), :] = or += sum over the lanes of the block of G[i, b] H[:, b]. `stripe`: lanes * MAX_VECS * W floats.
template <class RowOf>
inline void group_weights(int64_t labels, int64_t fan_in, int64_t lanes, const float *panel, const float *G, bool add,
                          const RowOf &row_of, float *dw, float *stripe) {
  const Blocks inputs(fan_in);
  each_block(inputs, [&](auto width, int64_t part) {
    constexpr int KV = decltype(width)::value;
    const int64_t first = inputs.first_row(part), count = inputs.rows(part);
    const float *from = panel + first * lanes;
    if constexpr (KV * W % 8 == 0) {
      pack_transposed<KV * W>(static_cast<int>(count), static_cast<int>(lanes), from, lanes, stripe);
    } else {
      for (int64_t b = 0; b < lanes; b++) {
        for (int64_t k = 0; k < count; k++) stripe[b * (KV * W) + k] = from[k * lanes + b];
      }
    }
    each_tile<tile_rows<KV>()>(labels, [&](auto rows, int64_t i) {
      constexpr int R = decltype(rows)::value;
      F sum[R][KV];
      tile_sums<R, KV>(lanes, G + i * lanes, lanes, 1, stripe, sum);
      for (int r = 0; r < R; r++) {
        float *row = dw + row_of(i + r) * fan_in + first;
        for (int v = 0; v < KV; v++) {
          int n = count - v * W < W ? static_cast<int>(count - v * W) : W;
          put(row + v * W, add ? get(row + v * W, n) + sum[r][v] : sum[r][v], n);
        }
      }
    });
  });
}

}  // namespace
}  // namespace ES_NS
