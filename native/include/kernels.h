/*
 * The whole native surface of Espalier: plain C, pointers and sizes, row-major float32.
 *
 * Every kernel returns 0 or one of the codes below, never throws, and allocates nothing except grow-only
 * scratch (see es_scratch_bytes). Shapes are checked by the callers in TypeScript; here only what could
 * write out of bounds is guarded. Arguments mean what src/kernels/face.ts says of the same names.
 *
 * One list serves four readers: ES_KERNEL(name, (parameters), (names)) declares `int es_<name>(parameters)`
 * by default; dispatch and binding include this file again with other meanings of ES_KERNEL.
 */
#ifndef ES_KERNELS_H
#define ES_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  ES_OK = 0,
  ES_BAD_ARGUMENT = 1, /* a size or option that no caller should pass */
  ES_INDEX_RANGE = 2,  /* an index points outside of its array; outputs are unspecified, nothing else is touched */
  ES_NO_MEMORY = 3,    /* scratch could not grow */
  ES_ISA_MISSING = 4   /* this processor or this build lacks the instruction set */
};

enum { ES_SCALAR = 0, ES_AVX2 = 1, ES_AVX512 = 2 };

/* The context of the calling thread: each Node thread has its own, all share one pool of workers. */
int es_set_threads(int threads);
int es_threads(void);
int es_set_isa(int isa);
int es_isa(void);
/* The highest instruction set that this processor, its operating system and this build offer. */
int es_best_isa(void);
/* Whether this processor has dot products of bfloat16 pairs (AVX512-BF16). */
int es_has_bf16(void);
/* Whether this processor permutes bytes and sums their products (AVX512-VBMI and VNNI). */
int es_has_bytes(void);
/* Bytes of grow-only scratch held by all threads together. */
int64_t es_scratch_bytes(void);
/* Asks the system for large pages below a buffer not yet touched; only advice, never an error. */
int es_advise_huge(void *data, int64_t bytes);
/* Gives whole pages back to the system: their contents become zeros. */
int es_return_pages(void *data, int64_t bytes);

#ifndef ES_KERNEL
#define ES_KERNEL(name, parameters, names) int es_##name parameters;
#define ES_KERNEL_DEFAULT
#endif

/* The arguments that every output step takes first; positives sorted by label, then row. `rule` is null or 11
 * numbers: kind, rate, momentum, nesterov, beta1, beta2, eps, weightDecay, decoupled, correction1, correction2.
 * loss: 0 bce, 1 squared hinge. loss_sum: out [1]. Lengths of workspaces are in floats. */
#define ES_STEP_PARAMETERS                                                                                        \
  int64_t batch, int64_t inputs, int64_t labels, int64_t begin, int64_t end, int64_t chunk, const float *h, float *dh, \
      int64_t positive_count, const uint32_t *positive_label, const uint32_t *positive_row, int32_t loss,         \
      double grad_scale, int32_t backward, const double *rule, double update_scale, float *weights,               \
      float *weight_m, float *weight_v, float *d_weights, float *bias, float *bias_m, float *bias_v,              \
      float *d_bias, double *squares, float *workspace, int64_t workspace_length, double *loss_sum, float *norm
#define ES_STEP_NAMES                                                                                             \
  batch, inputs, labels, begin, end, chunk, h, dh, positive_count, positive_label, positive_row, loss, grad_scale, \
      backward, rule, update_scale, weights, weight_m, weight_v, d_weights, bias, bias_m, bias_v, d_bias, squares, \
      workspace, workspace_length, loss_sum, norm
/* Weights in bfloat16 instead of `weights`, or null, and the draws that round them: see Bf16Weights in face.ts. */
#define ES_BF16_PARAMETERS uint16_t *short_weights, int64_t key0, int64_t key1, int64_t counter
#define ES_BF16_NAMES short_weights, key0, key1, counter
#define ES_FAN_IN_STEP_PARAMETERS                                                                                  \
  (ES_STEP_PARAMETERS, int64_t fan_in, const void *columns, int32_t column_bytes, const uint16_t *index,           \
   ES_BF16_PARAMETERS)
/* pairs: products of bfloat16 pairs, where the processor has them. */
#define ES_DENSE_STEP_PARAMETERS (ES_STEP_PARAMETERS, ES_BF16_PARAMETERS, int32_t pairs)
/* begin, end and chunk count groups. */
#define ES_GROUPED_STEP_PARAMETERS                                                                              \
  (ES_STEP_PARAMETERS, int64_t groups, int64_t group_size, int64_t fan_in, const uint32_t *starts, const void *columns, \
   int32_t column_bytes, ES_BF16_PARAMETERS, int32_t pairs)

/* x [batch, in_channels, height, width], weight [out_channels, in_channels / groups, kernel_height, kernel_width]. */
#define ES_CONV_PARAMETERS                                                                                         \
  int64_t batch, int64_t in_channels, int64_t height, int64_t width, int64_t out_channels, int64_t kernel_height,   \
      int64_t kernel_width, int64_t stride, int64_t padding, int64_t groups
#define ES_CONV_NAMES \
  batch, in_channels, height, width, out_channels, kernel_height, kernel_width, stride, padding, groups
#define ES_POOL_PARAMETERS \
  int64_t planes, int64_t height, int64_t width, int64_t kernel, int64_t stride, int64_t padding
#define ES_POOL_NAMES planes, height, width, kernel, stride, padding

#endif /* ES_KERNELS_H: the list below may be included many times */

#ifdef ES_KERNEL

/* ---- products ---- */
/* activation: 0 none, 1 relu. bias may be null. pairs: may round a and b to bfloat16. */
ES_KERNEL(gemm,
          (int32_t trans_a, int32_t trans_b, int64_t m, int64_t n, int64_t k, const float *a, const float *b,
           float *c, int32_t accumulate, const float *bias, int32_t activation, int32_t pairs),
          (trans_a, trans_b, m, n, k, a, b, c, accumulate, bias, activation, pairs))

/* ---- sparse rows; entries: the length of the index arrays; values may be null (ones) ---- */
ES_KERNEL(bag_forward,
          (int64_t rows, int64_t vocab, int64_t dim, int64_t entries, const int32_t *indptr, const uint32_t *indices,
           const float *values, const float *table, const float *bias, float *out),
          (rows, vocab, dim, entries, indptr, indices, values, table, bias, out))
ES_KERNEL(csr_transpose,
          (int64_t rows, int64_t vocab, int64_t entries, const int32_t *indptr, const uint32_t *indices,
           const float *values, uint32_t *columns, int32_t *colptr, uint32_t *row_of, float *value_of,
           uint32_t *scratch, int32_t *count),
          (rows, vocab, entries, indptr, indices, values, columns, colptr, row_of, value_of, scratch, count))
ES_KERNEL(bag_backward,
          (int64_t count, int64_t rows, int64_t dim, int64_t entries, const int32_t *colptr, const uint32_t *row_of,
           const float *value_of, const float *dy, float *grad),
          (count, rows, dim, entries, colptr, row_of, value_of, dy, grad))

/* ---- clustering; listed: the length of order; sums_length: doubles, a multiple of 2 * features ---- */
ES_KERNEL(balanced_split,
          (int64_t rows, int64_t features, int64_t entries, const int32_t *indptr, const uint32_t *indices,
           const float *values, int64_t segments, int64_t listed, const int32_t *bounds, const uint32_t *starts,
           double min_gain, uint32_t *order, double *sums, int64_t sums_length, double *scores, uint32_t *sides,
           double *similarity),
          (rows, features, entries, indptr, indices, values, segments, listed, bounds, starts, min_gain, order, sums,
           sums_length, scores, sides, similarity))

/* ---- normalisation and sums ---- */
ES_KERNEL(layer_norm,
          (int64_t rows, int64_t dim, double eps, const float *x, const float *gamma, const float *beta, float *y,
           float *mean, float *rstd),
          (rows, dim, eps, x, gamma, beta, y, mean, rstd))
ES_KERNEL(layer_norm_backward,
          (int64_t rows, int64_t dim, const float *x, const float *gamma, const float *mean, const float *rstd,
           const float *dy, float *dx, float *dgamma, float *dbeta),
          (rows, dim, x, gamma, mean, rstd, dy, dx, dgamma, dbeta))
ES_KERNEL(column_sum, (int64_t rows, int64_t cols, const float *x, float *out, int32_t accumulate),
          (rows, cols, x, out, accumulate))
ES_KERNEL(sum, (int64_t n, const float *x, double *out), (n, x, out))
ES_KERNEL(sum_squares, (int64_t n, const float *x, double *out), (n, x, out))

/* ---- random numbers ---- */
ES_KERNEL(uniform, (int64_t n, int64_t key0, int64_t key1, int64_t counter, double low, double high, float *out),
          (n, key0, key1, counter, low, high, out))
ES_KERNEL(dropout, (int64_t n, int64_t key0, int64_t key1, int64_t counter, double p, const float *x, float *y),
          (n, key0, key1, counter, p, x, y))

/* ---- optimisers; rule: 11 numbers, see ES_STEP_PARAMETERS; m and v null where the rule has none ---- */
ES_KERNEL(update, (int64_t n, const double *rule, float *w, const float *g, float *m, float *v, double grad_scale),
          (n, rule, w, g, m, v, grad_scale))
ES_KERNEL(update_rows,
          (int64_t count, int64_t dim, int64_t total_rows, const uint32_t *rows, const double *rule, float *w,
           const float *g, float *m, float *v, double grad_scale),
          (count, dim, total_rows, rows, rule, w, g, m, v, grad_scale))

/* ---- element by element ---- */
ES_KERNEL(relu, (int64_t n, const float *x, float *y), (n, x, y))
ES_KERNEL(relu_backward, (int64_t n, const float *y, const float *dy, float *dx), (n, y, dy, dx))
ES_KERNEL(gelu, (int64_t n, const float *x, float *y), (n, x, y))
ES_KERNEL(gelu_backward, (int64_t n, const float *x, const float *dy, float *dx), (n, x, dy, dx))
ES_KERNEL(add, (int64_t n, const float *a, const float *b, double alpha, float *out), (n, a, b, alpha, out))
ES_KERNEL(multiply, (int64_t n, const float *a, const float *b, float *out), (n, a, b, out))
ES_KERNEL(scale, (int64_t n, double alpha, const float *x, float *out), (n, alpha, x, out))

/* ---- what backward remembers ---- */
#include "bsr_kernels.h"

/* ---- the ruler: flops += multiply-adds in registers, two operations each, on all threads ---- */
ES_KERNEL(fma_peak, (int64_t rounds, double *flops), (rounds, flops))

/* ---- output layers: fixed fan-in ---- */
/* bf16: whether the weights are bfloat16. */
ES_KERNEL(fan_in_workspace,
          (int64_t batch, int64_t inputs, int64_t labels, int64_t chunk, int64_t fan_in, int32_t bf16, double *length),
          (batch, inputs, labels, chunk, fan_in, bf16, length))
ES_KERNEL(fan_in_step, ES_FAN_IN_STEP_PARAMETERS,
          (ES_STEP_NAMES, fan_in, columns, column_bytes, index, ES_BF16_NAMES))
ES_KERNEL(fan_in_index_length, (int64_t inputs, int64_t labels, int64_t fan_in, int64_t chunk, double *length),
          (inputs, labels, fan_in, chunk, length))
ES_KERNEL(fan_in_index_build,
          (int64_t inputs, int64_t labels, int64_t fan_in, int64_t chunk, int64_t begin, int64_t end, const void *columns,
           int32_t column_bytes, uint16_t *index),
          (inputs, labels, fan_in, chunk, begin, end, columns, column_bytes, index))
/* begin and end count groups: starts [groups + 1], or null where every label is its own. scores [groups, fan_in] or
 * null: the weights say what goes; slots [0, stays) of a row never do. norm [2, batch] and evidence_norm
 * [2, evidence_rows]: of softmax, else null. evidence_label may be null: the batch then speaks for its positives itself.
 * per_row < 0: threshold and ties decide.
 * pairs: the gradient by products of bfloat16 pairs, where the processor has them. counts: out [2], connections
 * replaced and ties met. */
ES_KERNEL(fan_in_regrow_workspace, (int64_t batch, int64_t inputs, int64_t fan_in, double *length),
          (batch, inputs, fan_in, length))
ES_KERNEL(fan_in_regrow,
          (int64_t batch, int64_t inputs, int64_t labels, int64_t groups, int64_t begin, int64_t end, int64_t fan_in,
           const float *h, int64_t positive_count, const uint32_t *positive_label, const uint32_t *positive_row,
           int32_t loss, float *norm, const uint32_t *starts, void *columns, int32_t column_bytes, float *weights,
           uint16_t *short_weights, float *weight_m, float *weight_v, float *bias, const float *scores,
           int64_t evidence_count, int64_t evidence_rows, const uint32_t *evidence_label, const uint32_t *evidence_row,
           const float *evidence_weight, const float *evidence_h, const float *evidence_norm, int64_t stays,
           int64_t per_row, double threshold, int64_t ties, int64_t key0, int64_t key1, int64_t counter, int32_t pairs,
           float *workspace, int64_t workspace_length, double *counts),
          (batch, inputs, labels, groups, begin, end, fan_in, h, positive_count, positive_label, positive_row, loss, norm,
           starts, columns, column_bytes, weights, short_weights, weight_m, weight_v, bias, scores, evidence_count,
           evidence_rows, evidence_label, evidence_row, evidence_weight, evidence_h, evidence_norm, stays, per_row,
           threshold, ties, key0, key1, counter, pairs, workspace, workspace_length, counts))
ES_KERNEL(fan_in_top_k_workspace, (int64_t batch, int64_t inputs, int64_t k, double *length), (batch, inputs, k, length))
ES_KERNEL(fan_in_logits,
          (int64_t batch, int64_t inputs, int64_t labels, int64_t begin, int64_t end, int64_t fan_in, const float *h,
           const void *columns, int32_t column_bytes, const float *weights, const float *bias, float *out,
           float *workspace, int64_t workspace_length, const uint16_t *short_weights),
          (batch, inputs, labels, begin, end, fan_in, h, columns, column_bytes, weights, bias, out, workspace,
           workspace_length, short_weights))
ES_KERNEL(fan_in_top_k,
          (int64_t batch, int64_t inputs, int64_t labels, int64_t fan_in, int64_t k, const float *h, const void *columns,
           int32_t column_bytes, const float *weights, const float *bias, uint32_t *top_labels, float *top_scores,
           float *workspace, int64_t workspace_length, const uint16_t *short_weights, const uint8_t *screen),
          (batch, inputs, labels, fan_in, k, h, columns, column_bytes, weights, bias, top_labels, top_scores, workspace,
           workspace_length, short_weights, screen))
/* The screen of fan_in_top_k, or null there: its length in bytes, 0 where this processor has no use for one. */
ES_KERNEL(fan_in_screen_length, (int64_t inputs, int64_t labels, int64_t fan_in, double *length),
          (inputs, labels, fan_in, length))
ES_KERNEL(fan_in_screen_build,
          (int64_t inputs, int64_t labels, int64_t fan_in, const void *columns, int32_t column_bytes, const float *weights,
           const float *bias, const uint16_t *short_weights, uint8_t *screen),
          (inputs, labels, fan_in, columns, column_bytes, weights, bias, short_weights, screen))

/* ---- output layers: labels in groups that share their inputs ---- */
/* bf16: whether the weights are bfloat16. */
ES_KERNEL(grouped_workspace,
          (int64_t batch, int64_t inputs, int64_t fan_in, int64_t group_size, int32_t bf16, double *length),
          (batch, inputs, fan_in, group_size, bf16, length))
ES_KERNEL(grouped_step, ES_GROUPED_STEP_PARAMETERS,
          (ES_STEP_NAMES, groups, group_size, fan_in, starts, columns, column_bytes, ES_BF16_NAMES, pairs))
ES_KERNEL(grouped_top_k_workspace,
          (int64_t batch, int64_t inputs, int64_t fan_in, int64_t group_size, int64_t k, int32_t bf16, double *length),
          (batch, inputs, fan_in, group_size, k, bf16, length))
ES_KERNEL(grouped_top_k,
          (int64_t batch, int64_t inputs, int64_t labels, int64_t k, const float *h, const float *weights,
           const float *bias, int64_t groups, int64_t group_size, int64_t fan_in, const uint32_t *starts,
           const void *columns, int32_t column_bytes, const uint32_t *label_of, uint32_t *top_labels, float *top_scores,
           float *workspace, int64_t workspace_length, const uint16_t *short_weights),
          (batch, inputs, labels, k, h, weights, bias, groups, group_size, fan_in, starts, columns, column_bytes, label_of,
           top_labels, top_scores, workspace, workspace_length, short_weights))

/* ---- output layers: dense; the bias of dense_top_k may be null (none) ---- */
ES_KERNEL(dense_workspace, (int64_t batch, int64_t inputs, int64_t labels, int64_t chunk, int32_t bf16, double *length),
          (batch, inputs, labels, chunk, bf16, length))
ES_KERNEL(dense_step, ES_DENSE_STEP_PARAMETERS, (ES_STEP_NAMES, ES_BF16_NAMES, pairs))
ES_KERNEL(dense_top_k_workspace, (int64_t batch, int64_t inputs, int64_t k, int32_t bf16, double *length),
          (batch, inputs, k, bf16, length))
ES_KERNEL(dense_top_k,
          (int64_t batch, int64_t inputs, int64_t labels, int64_t k, const float *h, const float *weights,
           const float *bias, uint32_t *top_labels, float *top_scores, float *workspace, int64_t workspace_length,
           const uint16_t *short_weights),
          (batch, inputs, labels, k, h, weights, bias, top_labels, top_scores, workspace, workspace_length, short_weights))

/* ---- output layers: factored; pairs (label, row), see PairArgs in face.ts ---- */
ES_KERNEL(pair_dots,
          (int64_t count, int64_t labels, int64_t rows, int64_t dim, const uint32_t *label, const uint32_t *row,
           const float *table, const float *x, float *out),
          (count, labels, rows, dim, label, row, table, x, out))
ES_KERNEL(pair_gather,
          (int64_t count, int64_t labels, int64_t rows, int64_t dim, const uint32_t *label, const uint32_t *row,
           const float *table, const float *coefficients, float *out),
          (count, labels, rows, dim, label, row, table, coefficients, out))
ES_KERNEL(pair_scatter,
          (int64_t count, int64_t labels, int64_t rows, int64_t dim, const uint32_t *label, const uint32_t *row, float *table,
           double alpha, const float *coefficients, const float *x),
          (count, labels, rows, dim, label, row, table, alpha, coefficients, x))
ES_KERNEL(settle_rows,
          (int64_t count, int64_t labels, int64_t dim, int64_t rank, const float *left, const float *right,
           const float *cross, const uint32_t *label, uint16_t *stamps, float *table),
          (count, labels, dim, rank, left, right, cross, label, stamps, table))
ES_KERNEL(scale_rows, (int64_t rows, int64_t cols, const float *x, const float *factors, float *out, int32_t accumulate),
          (rows, cols, x, factors, out, accumulate))
ES_KERNEL(accumulate, (int64_t n, const float *x, double keep, double alpha, double *master, float *copy),
          (n, x, keep, alpha, master, copy))
ES_KERNEL(accumulate_symmetric, (int64_t n, const float *x, double keep, double alpha, double *master, float *copy),
          (n, x, keep, alpha, master, copy))
/* scratch: [n] */
ES_KERNEL(invert, (int64_t n, double *a, double *scratch, double *pivot), (n, a, scratch, pivot))

#include "network_kernels.h"

#endif /* ES_KERNEL */

#ifdef ES_KERNEL_DEFAULT
#undef ES_KERNEL_DEFAULT
#undef ES_KERNEL
#ifdef __cplusplus
}
#endif
#endif
