// The three products of one group, labels that share their inputs, on one block of the batch: NV registers of rows.
//   Z = W H + bias,   dW = G H^T,   dH += W^T G;   W [labels, F], H [F, NV * W] the gathered inputs, G [labels, NV * W]
#pragma once

#include "../gemm/items.h"
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
// NOTE: always inlined: behind a call the sums would live in memory, since they might alias what is read.
template <class Math, int R, int NV>
__attribute__((always_inline)) inline void tile_sums(int64_t depth, const typename Math::Item *a, int64_t row_step, int64_t step,
                      const typename Math::Item *panel, F (&sum)[R][NV]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) sum[r][v] = zero();
  }
  const typename Math::Item *row[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) row[r] = a + r * row_step;
  for (int64_t k = 0; k < depth; k++, panel += NV * W) {
    typename Math::Register b[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) b[v] = Math::row(panel + v * W);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      typename Math::Register x = Math::every(row[r][k * step]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) sum[r][v] = Math::add(x, b[v], sum[r][v]);
    }
  }
}

// body(Width<R>, i): rows [i, i + R), R at most MOST; what is left over is 4, 2 and 1, so that there are few bodies.
template <int R, class Body>
inline void tiles_of(int64_t rows, int64_t i, const Body &body) {
  for (; i + R <= rows; i += R) body(Width<R>{}, i);
  constexpr int NEXT = R > 4 ? 4 : R > 2 ? 2 : R - 1;
  if constexpr (NEXT > 0) tiles_of<NEXT>(rows, i, body);
}
template <int MOST, class Body>
inline void each_tile(int64_t rows, const Body &body) {
  tiles_of<MOST>(rows, 0, body);
}

// H: the rows of hT that the group reads.
template <int NV>
inline void gather_inputs(int64_t fan_in, const uint32_t *columns, const float *hT, float *panel) {
  for (int64_t k = 0; k < fan_in; k++) {
    const float *row = hT + static_cast<int64_t>(columns[k]) * (NV * W);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) store(panel + (k * NV + v) * W, load(row + v * W));
  }
}

// The depths of these products count items of Math; w[l * row_step + k] are items along the inputs.
template <class Math, int NV>
inline void group_logits(int64_t labels, int64_t depth, const typename Math::Item *w, const float *bias,
                         const typename Math::Item *panel, float *z) {
  each_tile<tile_rows<NV>()>(labels, [&](auto rows, int64_t i) {
    constexpr int R = decltype(rows)::value;
    F sum[R][NV];
    tile_sums<Math, R, NV>(depth, w + i * depth, depth, 1, panel, sum);
    for (int r = 0; r < R; r++) {
      F own = set(bias[i + r]);
      for (int v = 0; v < NV; v++) store(z + ((i + r) * NV + v) * W, sum[r][v] + own);
    }
  });
}

// dhT[columns[k], :] += sum over labels of w[l, k] G[l, :]; w and G hold items along the labels.
template <class Math, int NV>
inline void group_hidden(int64_t depth, int64_t fan_in, const uint32_t *columns, const typename Math::Item *w,
                         const typename Math::Item *G, float *dhT) {
  each_tile<tile_rows<NV>()>(fan_in, [&](auto rows, int64_t k) {
    constexpr int R = decltype(rows)::value;
    F sum[R][NV];
    tile_sums<Math, R, NV>(depth, w + k, 1, fan_in, G, sum);
    for (int r = 0; r < R; r++) {
      float *row = dhT + static_cast<int64_t>(columns[k + r]) * (NV * W);
      for (int v = 0; v < NV; v++) store(row + v * W, load(row + v * W) + sum[r][v]);
    }
  });
}

// stripe[b][k] = panel[k][b], `count` inputs beginning at panel, `depth` items along the batch.
template <int WIDE, class Item>
inline void transpose_panel(int64_t count, int64_t depth, const Item *panel, Item *stripe) {
  static_assert(sizeof(Item) == sizeof(float), "");
  if constexpr (WIDE % 8 == 0) {
    pack_transposed<WIDE>(static_cast<int>(count), static_cast<int>(depth), reinterpret_cast<const float *>(panel), depth,
                          reinterpret_cast<float *>(stripe));
  } else {
    for (int64_t b = 0; b < depth; b++) {
      for (int64_t k = 0; k < count; k++) stripe[b * WIDE + k] = panel[k * depth + b];
    }
  }
}

// dw[rows[i], :] = or += sum over the rows of the block of G[i, b] H[:, b]; G and the panel hold `depth` items along
// the batch. stripe: depth * MAX_VECS * W items.
template <class Math>
inline void group_weights(int64_t labels, int64_t fan_in, int64_t depth, const typename Math::Item *panel,
                          const typename Math::Item *G, bool add, const uint32_t *rows, float *dw,
                          typename Math::Item *stripe) {
  const Blocks inputs(fan_in);
  each_block(inputs, [&](auto width, int64_t part) {
    constexpr int KV = decltype(width)::value;
    const int64_t first = inputs.first_row(part), count = inputs.rows(part);
    transpose_panel<KV * W>(count, depth, panel + first * depth, stripe);
    each_tile<tile_rows<KV>()>(labels, [&](auto tall, int64_t i) {
      constexpr int R = decltype(tall)::value;
      F sum[R][KV];
      tile_sums<Math, R, KV>(depth, G + i * depth, depth, 1, stripe, sum);
      for (int r = 0; r < R; r++) {
        float *row = dw + rows[i + r] * fan_in + first;
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
