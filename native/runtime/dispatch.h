// One table of kernels per instruction set; every ES_KERNEL of kernels.h is a member.
#pragma once

#include "../include/kernels.h"
#include "../include/sparse_kernels.h"

struct KernelTable {
#define ES_KERNEL(name, parameters, names) int(*name) parameters;
#include "../include/kernels.h"
#include "../include/sparse_kernels.h"
#undef ES_KERNEL
};

// Filled by kernels/table.cpp, which is compiled once per instruction set.
namespace es_scalar {
extern const KernelTable table;
}
#if defined(__x86_64__)
namespace es_avx2 {
extern const KernelTable table;
}
namespace es_avx512 {
extern const KernelTable table;
}
#endif
