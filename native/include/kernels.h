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
/* Bytes of grow-only scratch held by all threads together. */
int64_t es_scratch_bytes(void);

#ifndef ES_KERNEL
#define ES_KERNEL(name, parameters, names) int es_##name parameters;
#define ES_KERNEL_DEFAULT
#endif

#endif /* ES_KERNELS_H: the list below may be included many times */

#ifdef ES_KERNEL

/* ---- element by element ---- */
ES_KERNEL(relu, (int64_t n, const float *x, float *y), (n, x, y))
ES_KERNEL(add, (int64_t n, const float *a, const float *b, double alpha, float *out), (n, a, b, alpha, out))
ES_KERNEL(multiply, (int64_t n, const float *a, const float *b, float *out), (n, a, b, out))
ES_KERNEL(scale, (int64_t n, double alpha, const float *x, float *out), (n, alpha, x, out))

/* ---- output layers: fixed fan-in ---- */

/* ---- output layers: dense ---- */

#endif /* ES_KERNEL */

#ifdef ES_KERNEL_DEFAULT
#undef ES_KERNEL_DEFAULT
#undef ES_KERNEL
#ifdef __cplusplus
}
#endif
#endif
