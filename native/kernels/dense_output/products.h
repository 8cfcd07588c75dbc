// The three products of a dense output layer on one chunk of C labels, over the register tile of gemm_tile.h.
// What stays the same for all chunks (h) is packed once per step; what a chunk brings (W, G) is packed on the way.
#pragma once

#include "../gemm/gemm_tile.h"
#include "../output/lanes.h"

namespace ES_NS {
namespace {

inline int cut(int64_t rest, int most) { return rest < most ? static_cast<int>(rest) : most; }

// Floats of panels of a [k, n] matrix, and of strips of an [m, k] matrix.
inline int64_t panels_length(int64_t k, int64_t n) { return round_up(n, NR) * k; }
inline int64_t strips_length(int64_t m, int64_t k) { return round_up(m, MR) * k; }

// h [batch, inputs] as panels of h^T [inputs, batch].
inline void pack_hidden_by_row(int64_t batch, int64_t inputs, const float *h, float *panels) {
  int64_t count = (batch + NR - 1) / NR;
  parallel_ranges(inputs, 64, [&](int64_t from, int64_t to) {
    for (int64_t p = 0; p < count; p++) {
      pack_transposed<NR>(cut(batch - p * NR, NR), static_cast<int>(to - from), h + p * NR * inputs + from, inputs,
                          panels + p * NR * inputs + from * NR);
    }
  });
}

// h [batch, inputs] as panels of itself.
inline void pack_hidden_by_input(int64_t batch, int64_t inputs, const float *h, float *panels) {
  parallel_ranges((inputs + NR - 1) / NR, 4, [&](int64_t from, int64_t to) {
    for (int64_t p = from; p < to; p++) {
      pack_straight<NR>(cut(inputs - p * NR, NR), static_cast<int>(batch), h + p * NR, inputs, panels + p * NR * batch);
    }
  });
}

// Blocks of k of nearly equal depth, none deeper than KC.
struct Depth {
  int64_t k, step;
  explicit Depth(int64_t total) : k(total) {
    int64_t blocks = (total + KC - 1) / KC;
    step = blocks == 0 ? 1 : (total + blocks - 1) / blocks;
  }
  int at(int64_t k0) const { return cut(k - k0, static_cast<int>(step)); }
};

// z[labels, ldz] = w[labels, inputs] h^T. strips: strips_length(labels, KC).
template <class Items = Singles>
inline void logits_product(int64_t labels, int64_t inputs, int64_t batch, const float *w, const float *panels, float *z,
                           int64_t ldz, float *strips) {
  Depth depth(inputs);
  for (int64_t k0 = 0; k0 < inputs; k0 += depth.step) {
    int kc = depth.at(k0);
    for (int64_t i = 0; i < labels; i += MR) {
      pack_transposed<MR>(cut(labels - i, MR), kc, w + i * inputs + k0, inputs, strips + i * kc);
    }
    TileEnd end = {k0 > 0, nullptr, false};
    for (int64_t j = 0; j < batch; j += NR) {
      const float *panel = panels + j * inputs + k0 * NR;
      int cols = cut(batch - j, NR);
      for (int64_t i = 0; i < labels; i += MR) {
        tile_of<Items>(cut(labels - i, MR))(kc, strips + i * kc, panel, NR, z + i * ldz + j, ldz, cols, end);
      }
    }
  }
}

// dw[labels, inputs] = G[labels, ldg] h. strips: strips_length(labels, KC).
template <class Items = Singles>
inline void weight_product(int64_t labels, int64_t inputs, int64_t batch, const float *G, int64_t ldg, const float *panels,
                           float *dw, float *strips) {
  Depth depth(batch);
  for (int64_t k0 = 0; k0 < batch; k0 += depth.step) {
    int kc = depth.at(k0);
    for (int64_t i = 0; i < labels; i += MR) {
      pack_transposed<MR>(cut(labels - i, MR), kc, G + i * ldg + k0, ldg, strips + i * kc);
    }
    TileEnd end = {k0 > 0, nullptr, false};
    for (int64_t j = 0; j < inputs; j += NR) {
      const float *panel = panels + j * batch + k0 * NR;
      int cols = cut(inputs - j, NR);
      for (int64_t i = 0; i < labels; i += MR) {
        tile_of<Items>(cut(labels - i, MR))(kc, strips + i * kc, panel, NR, dw + i * inputs + j, inputs, cols, end);
      }
    }
  }
}

// dh[batch, inputs] += G^T w, label t of G being row row_of[t] of w (t where row_of is null). strips: strips_length(batch, KC), panel: KC * NR.
template <class Items = Singles>
inline void hidden_product(int64_t labels, const uint32_t *row_of, int64_t inputs, int64_t batch, const float *G, int64_t ldg,
                           const float *w, float *dh, float *strips, float *panel) {
  Depth depth(labels);
  for (int64_t k0 = 0; k0 < labels; k0 += depth.step) {
    int kc = depth.at(k0);
    for (int64_t i = 0; i < batch; i += MR) {
      pack_straight<MR>(cut(batch - i, MR), kc, G + k0 * ldg + i, ldg, strips + i * kc);
    }
    TileEnd end = {true, nullptr, false};
    for (int64_t j = 0; j < inputs; j += NR) {
      int cols = cut(inputs - j, NR);
      for (int k = 0; k < kc; k++) {
        pack_straight<NR>(cols, 1, w + (row_of == nullptr ? k0 + k : row_of[k0 + k]) * inputs + j, inputs, panel + k * NR);
      }
      for (int64_t i = 0; i < batch; i += MR) {
        tile_of<Items>(cut(batch - i, MR))(kc, strips + i * kc, panel, NR, dh + i * inputs + j, inputs, cols, end);
      }
    }
  }
}

}  // namespace
}  // namespace ES_NS
