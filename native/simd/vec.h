// F: a register of W floats. The same names at every level, so that one kernel source serves all:
//   zero, set, load, store, load_n, store_n (first n of W lanes; lanes beyond read 0), keep_n (others become 0), + - * /, fma(a,b,c) = a*b+c,
//   fnma(a,b,c) = c-a*b, max_of, min_of (the second operand when either is NaN), sqrt_of, abs_of, less, select(m, yes, no),
//   reduce_add, reduce_max (fixed trees), exp_of; D2: the W lanes as doubles, for sums.
#pragma once

#include <stdint.h>

#if defined(__AVX512F__)
#include "vec_avx512.h"
#elif defined(__AVX2__)
#include "vec_avx2.h"
#else
#include "vec_scalar.h"
#endif

#include "vec_math.h"
#include "vec_range.h"
