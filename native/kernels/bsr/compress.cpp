// From dense to block-sparse and back.
#include "blocks.h"
#include "select.h"

namespace ES_NS {
namespace {

// Sum of squares of one block, `width` columns of `height` rows.
inline float block_squares(const float *x, int64_t ld, int64_t height, int64_t width) {
  F even = zero(), odd = zero();
  if (width % W == 0) {
    for (int64_t i = 0; i < height; i++) {
      for (int64_t j = 0; j < width; j += 2 * W) {
        F a = load(x + i * ld + j);
        even = fma(a, a, even);
        if (j + W < width) {
          F b = load(x + i * ld + j + W);
          odd = fma(b, b, odd);
        }
      }
    }
  } else {
    for (int64_t i = 0; i < height; i++) {
      for (int64_t j = 0; j < width; j += W) {
        F a = load_n(x + i * ld + j, width - j < W ? static_cast<int>(width - j) : W);
        even = fma(a, a, even);
      }
    }
  }
  return reduce_add(even + odd);
}

inline void copy_lanes(const float *from, float *to, int64_t n) {
  over_lanes(n, [&](int64_t j, int count) { put(to + j, get(from + j, count), count); });
}

inline void clear_lanes(float *to, int64_t n) {
  over_lanes(n, [&](int64_t j, int count) { put(to + j, zero(), count); });
}

// Edge blocks are stored whole, zeros where the matrix ends.
inline void copy_block(const float *x, int64_t ld, int64_t height, int64_t width, int64_t block, float *to) {
  for (int64_t i = 0; i < block; i++, to += block) {
    if (i < height) copy_lanes(x + i * ld, to, width);
    const int64_t from = i < height ? width : 0;
    if (from < block) clear_lanes(to + from, block - from);
  }
}

// Threads below this many block rows each cost more than they bring.
constexpr int64_t GRAIN = 4;

}  // namespace

int bsr_compress(int64_t rows, int64_t cols, int64_t block, int64_t kept, int32_t per_row, const float *x,
                 float *squares, float *values, uint32_t *columns, uint32_t *row_pointers) {
  if (rows < 0 || cols < 0 || !sound_block(block)) return ES_BAD_ARGUMENT;
  const int64_t block_rows = (rows + block - 1) / block, block_cols = (cols + block - 1) / block;
  if (kept < 0 || kept > (per_row ? block_cols : block_rows * block_cols)) return ES_BAD_ARGUMENT;

  const auto measure = [&](int64_t r) {
    const float *strip = x + r * block * cols;
    const int64_t height = smaller(block, rows - r * block);
    for (int64_t c = 0; c < block_cols; c++) {
      squares[r * block_cols + c] = block_squares(strip + c * block, cols, height, smaller(block, cols - c * block));
    }
  };
  const auto copy = [&](int64_t r, int64_t e) {
    const int64_t c = columns[e];
    copy_block(x + r * block * cols + c * block, cols, smaller(block, rows - r * block), smaller(block, cols - c * block),
               block, values + e * block * block);
  };

  if (per_row) {
    // A block row stays in the cache between its norms and its copy.
    parallel_ranges(block_rows, GRAIN, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        measure(r);
        const float *keys = squares + r * block_cols;
        Cut cut = cut_of(keys, block_cols, kept);
        int64_t e = r * kept;
        for (int64_t c = 0; c < block_cols; c++) {
          if (!cut.takes(keys[c])) continue;
          columns[e] = static_cast<uint32_t>(c);
          copy(r, e++);
        }
      }
    });
    for (int64_t r = 0; r <= block_rows; r++) row_pointers[r] = static_cast<uint32_t>(r * kept);
    return ES_OK;
  }

  parallel_ranges(block_rows, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) measure(r);
  });
  Cut cut = cut_of(squares, block_rows * block_cols, kept);
  int64_t e = 0;
  row_pointers[0] = 0;
  for (int64_t r = 0; r < block_rows; r++) {
    for (int64_t c = 0; c < block_cols; c++) {
      if (cut.takes(squares[r * block_cols + c])) columns[e++] = static_cast<uint32_t>(c);
    }
    row_pointers[r + 1] = static_cast<uint32_t>(e);
  }
  parallel_ranges(block_rows, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      for (int64_t i = row_pointers[r]; i < row_pointers[r + 1]; i++) copy(r, i);
    }
  });
  return ES_OK;
}

int bsr_expand(int64_t rows, int64_t cols, int64_t block, int64_t entries, const float *values,
               const uint32_t *columns, const uint32_t *row_pointers, int64_t begin, int64_t end, float *out) {
  const Blocks x = {rows, cols, block, entries, values, columns, row_pointers};
  const int code = check_blocks(x);
  if (code != ES_OK) return code;
  if (begin < 0 || end > rows || begin > end) return ES_BAD_ARGUMENT;
  const int64_t first = begin / block;
  parallel_ranges((end + block - 1) / block - first, GRAIN, [&](int64_t from, int64_t to) {
    for (int64_t r = first + from; r < first + to; r++) {
      const int64_t i0 = r * block > begin ? r * block : begin, i1 = smaller((r + 1) * block, end);
      clear_lanes(out + (i0 - begin) * cols, (i1 - i0) * cols);
      for (int64_t e = row_pointers[r]; e < row_pointers[r + 1]; e++) {
        const int64_t j = columns[e] * block, width = smaller(block, cols - j);
        const float *held = values + e * block * block;
        for (int64_t i = i0; i < i1; i++) copy_lanes(held + (i - r * block) * block, out + (i - begin) * cols + j, width);
      }
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
