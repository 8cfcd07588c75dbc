#include "isa.h"
//
#include "../runtime/dispatch.h"

namespace ES_NS {

extern const KernelTable table;
const KernelTable table = {
#define ES_KERNEL(name, parameters, names) &name,
#include "../include/kernels.h"
#undef ES_KERNEL
};

}  // namespace ES_NS
