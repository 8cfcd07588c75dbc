/* Kernels of networks: part of the list of kernels.h, which includes this file once per reader.
 * Arguments mean what src/kernels/face-networks.ts says of the same names. */

/* ---- losses; labels are checked before anything is written. dz may be null, or z. totals: out [2] ---- */
ES_KERNEL(softmax_cross_entropy,
          (int64_t rows, int64_t classes, const float *z, const uint32_t *labels, double smoothing, double grad_scale,
           float *dz, float *losses, double *totals),
          (rows, classes, z, labels, smoothing, grad_scale, dz, losses, totals))

/* ---- scale and shift by column; beta may be null; of the gradients those that are null are not computed ---- */
ES_KERNEL(affine, (int64_t rows, int64_t dim, const float *x, const float *gamma, const float *beta, float *y),
          (rows, dim, x, gamma, beta, y))
ES_KERNEL(affine_backward,
          (int64_t rows, int64_t dim, const float *x, const float *gamma, const float *dy, float *dx, float *dgamma,
           float *dbeta),
          (rows, dim, x, gamma, dy, dx, dgamma, dbeta))

/* ---- x [outer, a, b, inner] -> y [outer, b, a, inner] ---- */
ES_KERNEL(swap_axes, (int64_t outer, int64_t a, int64_t b, int64_t inner, const float *x, float *y),
          (outer, a, b, inner, x, y))

/* ---- means of rows ---- */
ES_KERNEL(row_mean, (int64_t rows, int64_t cols, const float *x, float *y), (rows, cols, x, y))
ES_KERNEL(row_mean_backward, (int64_t rows, int64_t cols, const float *dy, float *dx), (rows, cols, dy, dx))
