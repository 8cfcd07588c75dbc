#include "isa.h"
//
#include "../runtime/dispatch.h"

namespace ES_NS {

#define ES_KERNEL(name, parameters, names) int name parameters;
#include "../include/sparse_kernels.h"
#undef ES_KERNEL

extern const KernelTable table;
const KernelTable table = {
#define ES_KERNEL(name, parameters, names) &name,
#include "../include/kernels.h"
#include "../include/sparse_kernels.h"
#undef ES_KERNEL
};

}  // namespace ES_NS
