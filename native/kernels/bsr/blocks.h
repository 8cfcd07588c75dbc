// A block-sparse matrix as the kernels see it, and what its indices must obey.
#pragma once

#include "../isa.h"

namespace ES_NS {
namespace {

struct Blocks {
  int64_t rows, cols, block, entries;
  const float *values;
  const uint32_t *columns, *row_pointers;

  int64_t block_rows() const { return (rows + block - 1) / block; }
  int64_t block_cols() const { return (cols + block - 1) / block; }
};

inline bool sound_block(int64_t block) { return block == 8 || block == 16 || block == 32; }

// ES_OK when every index lies inside of the matrix and columns ascend within a block row.
inline int check_blocks(const Blocks &x) {
  if (x.rows < 0 || x.cols < 0 || x.entries < 0 || !sound_block(x.block)) return ES_BAD_ARGUMENT;
  const int64_t block_rows = x.block_rows(), block_cols = x.block_cols();
  if (x.row_pointers[0] != 0 || x.row_pointers[block_rows] != x.entries) return ES_INDEX_RANGE;
  for (int64_t r = 0; r < block_rows; r++) {
    const int64_t begin = x.row_pointers[r], end = x.row_pointers[r + 1];
    if (begin > end || end > x.entries) return ES_INDEX_RANGE;
    int64_t last = -1;
    for (int64_t e = begin; e < end; e++) {
      if (x.columns[e] <= last || x.columns[e] >= block_cols) return ES_INDEX_RANGE;
      last = x.columns[e];
    }
  }
  return ES_OK;
}

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace
}  // namespace ES_NS
