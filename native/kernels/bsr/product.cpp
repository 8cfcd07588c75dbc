// Products of a block-sparse and a dense matrix, in proportion to the blocks that are held.
//
// All four are one: acc[outer, lanes] = sum over blocks of block^(T) times rows of the dense operand. `outer` runs over
// the side of the blocks that survives, `inner` over the side that is summed, `lanes` over the free side of the dense
// operand, packed in panels of NR. Only how panels are read and how sums are stored differs. A sum is cut at multiples
// of KC, whatever the number of threads.
#include "../gemm/gemm_tile.h"
#include "blocks.h"

namespace ES_NS {
namespace {

// Measured: KC inner rows of a panel stay in the second cache; panels are packed a few at a time, for longer runs of
// every row.
constexpr int64_t KEEP_INNER = 512, KEEP_OUTER = 1024, KEEP_PANELS = 4;
constexpr int64_t BLOCK_WORK = 1 << 18;

// The entries of each outer block in the order of their inner blocks.
struct Lists {
  int64_t outer, inner;     // blocks
  const uint32_t *begin;    // [outer + 1]
  const uint32_t *where;    // [entries], place among the values
  const uint32_t *inner_of; // [entries]
};

inline Lists by_rows(const Blocks &x, uint32_t *scratch) {
  for (int64_t e = 0; e < x.entries; e++) scratch[e] = static_cast<uint32_t>(e);
  return {x.block_rows(), x.block_cols(), x.row_pointers, scratch, x.columns};
}

inline Lists by_columns(const Blocks &x, uint32_t *scratch) {
  const int64_t outer = x.block_cols(), inner = x.block_rows();
  uint32_t *begin = scratch, *where = begin + outer + 2, *inner_of = where + x.entries;
  // Counting sort: begin[c + 2] counts column c, becomes the next place of column c - 1, and ends as its end.
  for (int64_t c = 0; c < outer + 2; c++) begin[c] = 0;
  for (int64_t e = 0; e < x.entries; e++) begin[x.columns[e] + 2]++;
  for (int64_t c = 2; c < outer + 2; c++) begin[c] += begin[c - 1];
  for (int64_t r = 0; r < inner; r++) {
    for (int64_t e = x.row_pointers[r]; e < x.row_pointers[r + 1]; e++) {
      const uint32_t place = begin[x.columns[e] + 1]++;
      where[place] = static_cast<uint32_t>(e);
      inner_of[place] = static_cast<uint32_t>(r);
    }
  }
  return {outer, inner, begin, where, inner_of};
}

inline int64_t lists_scratch(const Blocks &x) { return 2 * x.entries + x.block_cols() + 2; }

struct DenseSide {
  const float *data;
  int64_t ld;
  bool lanes_are_rows;  // element (k, lane) at data[lane * ld + k], otherwise at data[k * ld + lane]
  int64_t lanes, inner;
};

struct SumSide {
  float *data;
  int64_t ld;
  bool lanes_are_rows;  // as above, for (outer, lane)
  bool accumulate;
};

// Rows [k0, k0 + count) of lanes [lane0, lane0 + lanes), panel after panel [depth, NR], zeros beyond the operand.
inline void pack(const DenseSide &in, int64_t k0, int64_t count, int64_t depth, int64_t lane0, int64_t lanes, float *to) {
  for (int64_t p = 0; p < lanes; p += NR) {
    float *panel = to + p * depth;
    const int width = lanes - p < NR ? static_cast<int>(lanes - p) : NR;
    if (in.lanes_are_rows) {
      pack_transposed<NR>(width, static_cast<int>(count), in.data + (lane0 + p) * in.ld + k0, in.ld, panel);
    }
    for (int64_t k = count; k < depth; k++)
      for (int v = 0; v < NR; v += W) store(panel + k * NR + v, zero());
  }
  if (in.lanes_are_rows) return;
  const float *row = in.data + k0 * in.ld + lane0;
  // The next rows lie pages away, where no hardware looks ahead.
  constexpr int64_t AHEAD = 8;
  for (int64_t k = 0; k < count; k++, row += in.ld) {
    if (k + AHEAD < count) {
      for (int64_t j = 0; j < lanes; j += 16) __builtin_prefetch(row + AHEAD * in.ld + j);
    }
    int64_t p = 0;
    for (; p + NR <= lanes; p += NR) {
      float *out = to + p * depth + k * NR;
      for (int v = 0; v < NR; v += W) store(out + v, load(row + p + v));
    }
    float *out = to + p * depth + k * NR;
    for (int v = 0; p + v < lanes; v += W) store(out + v, load_n(row + p + v, static_cast<int>(smaller(lanes - p - v, W))));
  }
}

// acc[MR, NR] += the entries' blocks, their outer elements [j, j + MR), times the panel. BY_COLUMN: the outer side of a
// block are its columns.
template <int B, bool BY_COLUMN>
inline void entries_tile(const Lists &lists, int64_t begin, int64_t end, int64_t first, const float *values, int j,
                         const float *panel, float *acc) {
  F sum[MR][NV];
  for (int i = 0; i < MR; i++)
    for (int v = 0; v < NV; v++) sum[i][v] = load(acc + i * NR + v * W);
  for (int64_t e = begin; e < end; e++) {
    const float *held = values + static_cast<int64_t>(lists.where[e]) * (B * B);
    const float *next = values + static_cast<int64_t>(lists.where[e + 1 < end ? e + 1 : e]) * (B * B);
    const float *a = held + (BY_COLUMN ? j : j * B);
    const float *row = panel + (lists.inner_of[e] - first) * (B * NR);
    for (int k = 0; k < B; k++) {
      __builtin_prefetch(next + k * B);
      F b[NV];
#pragma GCC unroll 16
      for (int v = 0; v < NV; v++) b[v] = load(row + v * W);
#pragma GCC unroll 16
      for (int i = 0; i < MR; i++) {
        F factor = set(BY_COLUMN ? a[i] : a[i * B]);
#pragma GCC unroll 16
        for (int v = 0; v < NV; v++) sum[i][v] = fma(factor, b[v], sum[i][v]);
      }
      a += BY_COLUMN ? B : 1;
      row += NR;
    }
  }
  for (int i = 0; i < MR; i++)
    for (int v = 0; v < NV; v++) store(acc + i * NR + v * W, sum[i][v]);
}

// acc [height, NR] to its place in the result: `height` outer elements from `at`, `width` lanes from `lane`.
inline void store_sums(const SumSide &out, int64_t at, int64_t height, int64_t lane, int width, const float *acc) {
  if (!out.lanes_are_rows) {
    for (int64_t i = 0; i < height; i++) {
      float *place = out.data + (at + i) * out.ld + lane;
      for (int v = 0; v < width; v += W) {
        const int count = width - v < W ? width - v : W;
        F sum = load(acc + i * NR + v);
        put(place + v, out.accumulate ? get(place + v, count) + sum : sum, count);
      }
    }
    return;
  }
  // Transposed, eight outer elements at a time, so that each line of the result is met once.
  for (int64_t i0 = 0; i0 < height; i0 += 8) {
    const int64_t i1 = smaller(i0 + 8, height);
    for (int v = 0; v < width; v++) {
      float *place = out.data + (lane + v) * out.ld + at;
      for (int64_t i = i0; i < i1; i++) place[i] = (out.accumulate ? place[i] : 0.0f) + acc[i * NR + v];
    }
  }
}

struct Part {
  int64_t outer0, outer1, panel0, panel1;
};

inline int64_t part_scratch() { return (KEEP_INNER + KEEP_OUTER) * KEEP_PANELS * NR + KEEP_OUTER / 8; }

template <int B, bool BY_COLUMN>
inline void multiply_part(const Lists &lists, const float *values, int64_t outer_size, const DenseSide &in,
                          const SumSide &out, const Part &part, float *scratch) {
  constexpr int64_t depth = KEEP_INNER, deep = KEEP_INNER / B, slab = KEEP_OUTER / B;
  float *packed = scratch, *acc = packed + KEEP_PANELS * NR * depth;
  uint32_t *cursor = reinterpret_cast<uint32_t *>(acc + KEEP_PANELS * NR * KEEP_OUTER);
  for (int64_t p0 = part.panel0; p0 < part.panel1; p0 += KEEP_PANELS) {
    const int64_t panels = smaller(KEEP_PANELS, part.panel1 - p0);
    const int64_t lane0 = p0 * NR, lanes = smaller(panels * NR, in.lanes - lane0);
    for (int64_t o0 = part.outer0; o0 < part.outer1; o0 += slab) {
      const int64_t count = smaller(slab, part.outer1 - o0);
      for (int64_t i = 0; i < panels * count * B * NR; i += W) store(acc + i, zero());
      for (int64_t o = 0; o < count; o++) cursor[o] = lists.begin[o0 + o];
      for (int64_t first = 0; first < lists.inner; first += deep) {
        const int64_t k0 = first * B;
        if (lists.inner > deep || o0 == part.outer0) pack(in, k0, smaller(depth, in.inner - k0), depth, lane0, lanes, packed);
        for (int64_t o = 0; o < count; o++) {
          const int64_t begin = cursor[o], stop = lists.begin[o0 + o + 1];
          int64_t end = begin;
          while (end < stop && lists.inner_of[end] < first + deep) end++;
          cursor[o] = static_cast<uint32_t>(end);
          if (begin == end) continue;
          for (int64_t p = 0; p < panels; p++) {
            for (int j = 0; j < B; j += MR) {
              entries_tile<B, BY_COLUMN>(lists, begin, end, first, values, j, packed + p * depth * NR,
                                         acc + (p * count * B + o * B + j) * NR);
            }
          }
        }
      }
      const int64_t at = o0 * B, height = smaller(count * B, outer_size - at);
      for (int64_t p = 0; p < panels; p++) {
        const int width = static_cast<int>(smaller(NR, lanes - p * NR));
        store_sums(out, at, height, lane0 + p * NR, width, acc + p * count * B * NR);
      }
    }
  }
}

using PartFn = void (*)(const Lists &, const float *, int64_t, const DenseSide &, const SumSide &, const Part &, float *);

// The first outer block from which on at most (parts - i) / parts of the entries remain.
inline int64_t outer_cut(const Lists &lists, int64_t entries, int i, int parts) {
  if (i == parts) return lists.outer;
  const int64_t wanted = entries * i / parts;
  int64_t o = 0;
  while (o < lists.outer && lists.begin[o] < wanted) o++;
  return o;
}

// by_column: the outer side of x are its columns.
int multiply(const Blocks &x, bool by_column, const DenseSide &in, const SumSide &out) {
  const int code = check_blocks(x);
  if (code != ES_OK) return code;
  const int64_t outer_size = by_column ? x.cols : x.rows;
  if (in.lanes == 0 || outer_size == 0) return ES_OK;
  float *ints = es_scratch(ES_SLOT_BSR, lists_scratch(x));
  if (ints == nullptr) return ES_NO_MEMORY;
  const Lists lists = by_column ? by_columns(x, reinterpret_cast<uint32_t *>(ints)) : by_rows(x, reinterpret_cast<uint32_t *>(ints));

  static constexpr PartFn FNS[2][3] = {{multiply_part<8, false>, multiply_part<16, false>, multiply_part<32, false>},
                                       {multiply_part<8, true>, multiply_part<16, true>, multiply_part<32, true>}};
  const PartFn run = FNS[by_column ? 1 : 0][x.block == 8 ? 0 : x.block == 16 ? 1 : 2];
  const int64_t panels = (in.lanes + NR - 1) / NR;
  const double work = static_cast<double>(x.entries) * x.block * x.block * in.lanes / BLOCK_WORK;
  const int threads = es_parallel_workers(work < 1 ? 1 : work > 65536 ? 65536 : static_cast<int>(work));
  // Panels are shared out where there are enough of them to be shared evenly; otherwise each thread takes a part of x.
  const bool by_panels = panels % threads == 0 || panels >= 4 * threads;
  bool short_of_memory = false;
  parallel_tasks(threads, [&](int task, int) {
    float *scratch = es_scratch(ES_SLOT_GEMM, part_scratch());
    if (scratch == nullptr) {
      short_of_memory = true;
      return;
    }
    Part part = {0, lists.outer, 0, panels};
    if (by_panels) {
      part.panel0 = panels * task / threads;
      part.panel1 = panels * (task + 1) / threads;
    } else {
      part.outer0 = outer_cut(lists, x.entries, task, threads);
      part.outer1 = outer_cut(lists, x.entries, task + 1, threads);
    }
    run(lists, x.values, outer_size, in, out, part, scratch);
  });
  return short_of_memory ? ES_NO_MEMORY : ES_OK;
}

}  // namespace

// c = x b, or x^T b.
int bsr_dense(int32_t trans_x, int64_t rows, int64_t cols, int64_t block, int64_t entries, const float *values,
              const uint32_t *columns, const uint32_t *row_pointers, int64_t n, const float *b, float *c,
              int32_t accumulate) {
  if (n < 0) return ES_BAD_ARGUMENT;
  const Blocks x = {rows, cols, block, entries, values, columns, row_pointers};
  return multiply(x, trans_x != 0, {b, n, false, n, trans_x ? rows : cols}, {c, n, false, accumulate != 0});
}

// c = a x, or a^T x.
int dense_bsr(int32_t trans_a, int64_t rows, int64_t cols, int64_t block, int64_t entries, const float *values,
              const uint32_t *columns, const uint32_t *row_pointers, int64_t m, const float *a, float *c,
              int32_t accumulate) {
  if (m < 0) return ES_BAD_ARGUMENT;
  const Blocks x = {rows, cols, block, entries, values, columns, row_pointers};
  return multiply(x, true, {a, trans_a ? m : rows, trans_a == 0, m, rows}, {c, cols, true, accumulate != 0});
}

}  // namespace ES_NS
