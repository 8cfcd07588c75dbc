/* The list of kernels.h goes on: products with weights that are mostly 0, for inference. A list of its own, read after
 * that one by the tables and the binding, so that other kernels are not compiled again when it changes. Arguments mean
 * what src/kernels/face-networks.ts says of the same names. */

#include <stdint.h>

#ifndef ES_KERNEL
#ifdef __cplusplus
extern "C" {
#endif
#define ES_KERNEL(name, parameters, names) int es_##name parameters;
#define ES_KERNEL_DEFAULT
#endif

ES_KERNEL(sparse_dots,
          (int64_t batch, int64_t inputs, int64_t rows, int64_t entries, const int32_t *indptr, const uint32_t *indices,
           const float *values, const float *bias, int32_t relu, const float *x, float *y),
          (batch, inputs, rows, entries, indptr, indices, values, bias, relu, x, y))
ES_KERNEL(pad_planes,
          (int64_t planes, int64_t height, int64_t width, int64_t padding, int64_t stride, const float *x, float *y),
          (planes, height, width, padding, stride, x, y))
ES_KERNEL(shifted_sums,
          (int64_t batch, int64_t inputs, int64_t rows, int64_t down, int64_t across, int64_t pitch, int64_t entries,
           const int32_t *indptr, const uint32_t *offsets, const float *values, const float *bias, int32_t relu,
           const float *x, float *y),
          (batch, inputs, rows, down, across, pitch, entries, indptr, offsets, values, bias, relu, x, y))

#ifdef ES_KERNEL_DEFAULT
#undef ES_KERNEL_DEFAULT
#undef ES_KERNEL
#ifdef __cplusplus
}
#endif
#endif
