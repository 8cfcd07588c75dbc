// gemm_st: c[m,n] = end(op(a)[m,k] * op(b)[k,n]) on the calling thread, for use inside parallel regions.
// The order of additions depends on k only, so any split over m and n gives the same bits.
#pragma once

#include "gemm_tile.h"

namespace ES_NS {
namespace {

// Rows of op(a) packed at a time: MC * KC floats take half of the second cache.
constexpr int64_t MC = 256;
// Panels packed at a time: longer runs of every row of b, kind to the address translation.
constexpr int64_t PANELS = 4;

// Whether panels of a straight b are read in place. Measured: packing costs more than it brings while the rows of a
// panel do not thrash the address translation and a is short enough not to come back often.
inline bool reads_in_place(int64_t m, int64_t n, int64_t ldb) {
  return W == 16 ? ldb <= 1024 && m <= 8 * MR : m <= 2 * MR;
}

struct Operands {
  bool trans_a, trans_b;
  const float *a;
  int64_t lda;
  const float *b;
  int64_t ldb;
};

inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Floats of scratch that gemm_st needs.
inline int64_t gemm_st_scratch(int64_t m) {
  int64_t rows = round_up(m < MC ? m : MC, MR);
  return (rows + PANELS * NR) * KC;
}

inline void gemm_end(int64_t m, int64_t n, float *c, int64_t ldc, const TileEnd &end) {
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j += W) {
      int count = n - j < W ? static_cast<int>(n - j) : W;
      finish(c + i * ldc + j, zero(), count, end, end.bias == nullptr ? nullptr : end.bias + j);
    }
  }
}

// `rows` rows of op(a) from row i, numbers [k0, k0 + kc).
inline void pack_strip(Singles, const Operands &in, int64_t k0, int kc, int64_t i, int rows, float *to) {
  if (in.trans_a) pack_straight<MR>(rows, kc, in.a + k0 * in.lda + i, in.lda, to);
  else pack_transposed<MR>(rows, kc, in.a + i * in.lda + k0, in.lda, to);
}

// The panels of columns [j, j + count) one after the other, each [kc, NR].
inline void pack_panels(Singles, const Operands &in, int64_t k0, int kc, int64_t j, int64_t count, float *to) {
  if (in.trans_b) {
    for (int64_t p = 0; p < count; p += NR, to += static_cast<int64_t>(kc) * NR) {
      int cols = count - p < NR ? static_cast<int>(count - p) : NR;
      pack_transposed<NR>(cols, kc, in.b + (j + p) * in.ldb + k0, in.ldb, to);
    }
    return;
  }
  const float *row = in.b + k0 * in.ldb + j;
  for (int k = 0; k < kc; k++, row += in.ldb) {
    float *out = to + static_cast<int64_t>(k) * NR;
    int64_t p = 0;
    for (; p + NR <= count; p += NR, out += static_cast<int64_t>(kc) * NR) {
      for (int v = 0; v < NR; v += W) store(out + v, load(row + p + v));
    }
    for (int v = 0; p + v < count; v += W) store_n(out + v, load_n(row + p + v, static_cast<int>(count - p - v)), W);
  }
}

// kc and depth count numbers along k; strips and panels have items of one or two of them.
template <class Items>
inline void gemm_st(const Operands &in, int64_t m, int64_t n, int64_t k, float *c, int64_t ldc, const TileEnd &end,
                    float *scratch) {
  if (k == 0) return gemm_end(m, n, c, ldc, end);
  constexpr int64_t MOST = KC * Items::NUMBERS;
  int64_t blocks = (k + MOST - 1) / MOST;
  // Equal blocks of k, so that none is left with a handful.
  int64_t depth = round_up((k + blocks - 1) / blocks, 8);
  float *panels = scratch;
  float *strips = scratch + PANELS * NR * KC;
  bool in_place = Items::NUMBERS == 1 && reads_in_place(m, n, in.ldb);
  for (int64_t k0 = 0; k0 < k; k0 += depth) {
    int kc = static_cast<int>(k - k0 < depth ? k - k0 : depth);
    int items = (kc + Items::NUMBERS - 1) / Items::NUMBERS;
    bool first = k0 == 0, last = k0 + depth >= k;
    for (int64_t i0 = 0; i0 < m; i0 += MC) {
      int64_t mc = m - i0 < MC ? m - i0 : MC;
      for (int64_t i = 0; i < mc; i += MR) {
        int rows = mc - i < MR ? static_cast<int>(mc - i) : MR;
        pack_strip(Items(), in, k0, kc, i0 + i, rows, strips + i * items);
      }
      for (int64_t j0 = 0; j0 < n; j0 += PANELS * NR) {
        int64_t wide = n - j0 < PANELS * NR ? n - j0 : PANELS * NR;
        // A panel in place must not end beyond the row: the last one then is packed all the same.
        int64_t packed_from = in.trans_b || !in_place ? 0 : wide / NR * NR;
        pack_panels(Items(), in, k0, kc, j0 + packed_from, wide - packed_from, panels + packed_from * items);
        for (int64_t p = 0; p < wide; p += NR) {
          int64_t j = j0 + p;
          int cols = n - j < NR ? static_cast<int>(n - j) : NR;
          bool packed = p >= packed_from;
          const float *panel = packed ? panels + p * items : in.b + k0 * in.ldb + j;
          TileEnd tile_end = {end.accumulate || !first, first && end.bias != nullptr ? end.bias + j : nullptr,
                              end.relu && last};
          for (int64_t i = 0; i < mc; i += MR) {
            int rows = mc - i < MR ? static_cast<int>(mc - i) : MR;
            tile_of<Items>(rows)(items, strips + i * items, panel, packed ? NR : in.ldb, c + (i0 + i) * ldc + j, ldc, cols,
                                 tile_end);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace ES_NS
