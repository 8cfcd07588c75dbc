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

/* ---- batches of images; pixels, ids and moves: see LoadImagesArgs ---- */
ES_KERNEL(load_images,
          (int64_t batch, int64_t rows, int64_t channels, int64_t height, int64_t width, const uint8_t *pixels,
           const uint32_t *ids, const int32_t *moves, const float *scale, const float *shift, float *out),
          (batch, rows, channels, height, width, pixels, ids, moves, scale, shift, out))

/* ---- convolutions; lengths of workspaces in floats ---- */
ES_KERNEL(conv2d,
          (ES_CONV_PARAMETERS, const float *x, const float *weight, const float *bias, int32_t activation, float *y),
          (ES_CONV_NAMES, x, weight, bias, activation, y))
ES_KERNEL(conv2d_backward_input,
          (ES_CONV_PARAMETERS, const float *weight, const float *dy, float *dx, int32_t accumulate),
          (ES_CONV_NAMES, weight, dy, dx, accumulate))
ES_KERNEL(conv2d_backward_weight,
          (ES_CONV_PARAMETERS, const float *x, const float *dy, float *dweight, float *dbias, int32_t accumulate,
           float *workspace, int64_t workspace_length),
          (ES_CONV_NAMES, x, dy, dweight, dbias, accumulate, workspace, workspace_length))
ES_KERNEL(conv2d_workspace, (ES_CONV_PARAMETERS, double *length), (ES_CONV_NAMES, length))

/* ---- pools over planes ---- */
ES_KERNEL(max_pool, (ES_POOL_PARAMETERS, const float *x, float *y, uint16_t *places), (ES_POOL_NAMES, x, y, places))
ES_KERNEL(max_pool_backward, (ES_POOL_PARAMETERS, const float *dy, const uint16_t *places, float *dx),
          (ES_POOL_NAMES, dy, places, dx))
ES_KERNEL(avg_pool, (ES_POOL_PARAMETERS, const float *x, float *y), (ES_POOL_NAMES, x, y))
ES_KERNEL(avg_pool_backward, (ES_POOL_PARAMETERS, const float *dy, float *dx), (ES_POOL_NAMES, dy, dx))

/* ---- normalisation over the batch ---- */
ES_KERNEL(batch_norm,
          (int64_t batch, int64_t channels, int64_t plane, double eps, double momentum, int32_t relu, const float *x,
           const float *gamma, const float *beta, float *running_mean, float *running_var, float *y, float *mean,
           float *rstd),
          (batch, channels, plane, eps, momentum, relu, x, gamma, beta, running_mean, running_var, y, mean, rstd))
ES_KERNEL(batch_norm_apply,
          (int64_t batch, int64_t channels, int64_t plane, double eps, int32_t relu, const float *x, const float *gamma,
           const float *beta, const float *mean, const float *variance, float *y),
          (batch, channels, plane, eps, relu, x, gamma, beta, mean, variance, y))
ES_KERNEL(batch_norm_backward,
          (int64_t batch, int64_t channels, int64_t plane, const float *x, const float *y, const float *gamma,
           const float *mean, const float *rstd, const float *dy, float *dx, float *dgamma, float *dbeta),
          (batch, channels, plane, x, y, gamma, mean, rstd, dy, dx, dgamma, dbeta))

/* ---- recurrent cells ---- */
ES_KERNEL(tanh_forward, (int64_t n, const float *x, float *y), (n, x, y))
ES_KERNEL(tanh_backward, (int64_t n, const float *y, const float *dy, float *dx), (n, y, dy, dx))
ES_KERNEL(lstm_cell, (int64_t batch, int64_t hidden, float *gates, const float *c_before, float *c, float *h),
          (batch, hidden, gates, c_before, c, h))
ES_KERNEL(lstm_cell_backward,
          (int64_t batch, int64_t hidden, const float *gates, const float *c_before, const float *c, const float *dh,
           const float *dh_next, float *dc, float *dgates),
          (batch, hidden, gates, c_before, c, dh, dh_next, dc, dgates))
ES_KERNEL(gru_cell,
          (int64_t batch, int64_t hidden, float *gates, const float *from_h, const float *h_before, float *h),
          (batch, hidden, gates, from_h, h_before, h))
ES_KERNEL(gru_cell_backward,
          (int64_t batch, int64_t hidden, const float *gates, const float *from_h, const float *h_before,
           const float *dh, const float *dh_next, float *dgates, float *dfrom_h, float *dh_before),
          (batch, hidden, gates, from_h, h_before, dh, dh_next, dgates, dfrom_h, dh_before))

/* ---- masks and gates: one bit per weight, low bits first ---- */
ES_KERNEL(mask_apply, (int64_t n, const uint32_t *bits, const float *x, float *y), (n, bits, x, y))
ES_KERNEL(gate_apply,
          (int64_t n, int32_t sampled, int64_t key0, int64_t key1, int64_t counter, const float *w, const float *g,
           uint32_t *bits, float *effective),
          (n, sampled, key0, key1, counter, w, g, bits, effective))
ES_KERNEL(gate_update,
          (int64_t n, const double *rule, float *w, float *m, float *v, const double *gate_rule, float *g, float *gate_m,
           float *gate_v, const uint32_t *bits, const float *grad, double grad_scale, double bimodal, double spread,
           int32_t frozen),
          (n, rule, w, m, v, gate_rule, g, gate_m, gate_v, bits, grad, grad_scale, bimodal, spread, frozen))
