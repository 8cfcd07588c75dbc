/* Part of the list in kernels.h: block-sparse rows (BSR) and other small copies of activations. A BSR matrix
 * [rows, cols] is entries, values [entries, block, block], columns [entries], row_pointers [block rows + 1]. */

/* kept: blocks per segment; per_row: a segment is a block row, otherwise the whole. squares: out, one per block. */
ES_KERNEL(bsr_compress,
          (int64_t rows, int64_t cols, int64_t block, int64_t kept, int32_t per_row, const float *x, float *squares,
           float *values, uint32_t *columns, uint32_t *row_pointers),
          (rows, cols, block, kept, per_row, x, squares, values, columns, row_pointers))
/* out: rows [begin, end) of the dense matrix. */
ES_KERNEL(bsr_expand,
          (int64_t rows, int64_t cols, int64_t block, int64_t entries, const float *values, const uint32_t *columns,
           const uint32_t *row_pointers, int64_t begin, int64_t end, float *out),
          (rows, cols, block, entries, values, columns, row_pointers, begin, end, out))
ES_KERNEL(bsr_dense,
          (int32_t trans_x, int64_t rows, int64_t cols, int64_t block, int64_t entries, const float *values,
           const uint32_t *columns, const uint32_t *row_pointers, int64_t n, const float *b, float *c, int32_t accumulate),
          (trans_x, rows, cols, block, entries, values, columns, row_pointers, n, b, c, accumulate))
ES_KERNEL(dense_bsr,
          (int32_t trans_a, int64_t rows, int64_t cols, int64_t block, int64_t entries, const float *values,
           const uint32_t *columns, const uint32_t *row_pointers, int64_t m, const float *a, float *c, int32_t accumulate),
          (trans_a, rows, cols, block, entries, values, columns, row_pointers, m, a, c, accumulate))
ES_KERNEL(bsr_column_dots,
          (int64_t rows, int64_t cols, int64_t block, int64_t entries, const float *values, const uint32_t *columns,
           const uint32_t *row_pointers, const float *dy, float *out, int32_t accumulate),
          (rows, cols, block, entries, values, columns, row_pointers, dy, out, accumulate))
/* mean: otherwise sums. */
ES_KERNEL(pool_rows, (int64_t rows, int64_t cols, int64_t size, int32_t mean, const float *x, float *out),
          (rows, cols, size, mean, x, out))
ES_KERNEL(sign_mask, (int64_t n, const float *y, uint32_t *mask), (n, y, mask))
ES_KERNEL(mask_backward, (int64_t n, const uint32_t *mask, const float *dy, float *dx), (n, mask, dy, dx))
ES_KERNEL(bf16_round, (int64_t n, const float *x, uint16_t *y), (n, x, y))
ES_KERNEL(bf16_widen, (int64_t n, const uint16_t *x, float *y), (n, x, y))
