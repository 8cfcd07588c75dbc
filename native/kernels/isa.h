// What every kernel file includes first. ES_NS (es_scalar, es_avx2, es_avx512) comes from the compiler's flags.
//
// NOTE: files below native/kernels/ are compiled with instruction sets that the machine may lack. They hold raw
// pointers and intrinsics only, helpers in anonymous namespaces: an inline function of the standard library
// compiled here could be the copy that the linker keeps for everybody.
#pragma once

#include <stddef.h>

#include "../include/kernels.h"

#ifndef ES_NS
#error "compile kernels with -DES_NS=es_scalar, es_avx2 or es_avx512"
#endif

namespace ES_NS {
#define ES_KERNEL(name, parameters, names) int name parameters;
#include "../include/kernels.h"
#undef ES_KERNEL
}  // namespace ES_NS

#include "../runtime/memory.h"
#include "../runtime/pool.h"
#include "../simd/vec.h"
#include "parallel.h"
