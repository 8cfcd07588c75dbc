#include "dispatch.h"

namespace {

int detect() {
#if defined(__x86_64__)
  // These builtins read cpuid and, through xgetbv, whether the operating system saves the wide registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return ES_AVX512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return ES_AVX2;
#endif
  return ES_SCALAR;
}

const KernelTable *table_of(int isa) {
#if defined(__x86_64__)
  if (isa == ES_AVX512) return &es_avx512::table;
  if (isa == ES_AVX2) return &es_avx2::table;
#endif
  return isa == ES_SCALAR ? &es_scalar::table : nullptr;
}

struct Context {
  int isa = es_best_isa();
  const KernelTable *table = table_of(isa);
};

thread_local Context context;

}  // namespace

extern "C" {

int es_best_isa(void) {
  static const int best = detect();
  return best;
}

int es_has_bf16(void) {
#if defined(__x86_64__)
  static const int has = es_best_isa() == ES_AVX512 && __builtin_cpu_supports("avx512bf16") ? 1 : 0;
  return has;
#else
  return 0;
#endif
}

int es_has_bytes(void) {
#if defined(__x86_64__)
  static const int has =
      es_best_isa() == ES_AVX512 && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") ? 1 : 0;
  return has;
#else
  return 0;
#endif
}

int es_isa(void) { return context.isa; }

int es_set_isa(int isa) {
  const KernelTable *table = table_of(isa);
  if (table == nullptr || isa > es_best_isa()) return ES_ISA_MISSING;
  context.isa = isa;
  context.table = table;
  return ES_OK;
}

#define ES_KERNEL(name, parameters, names) \
  int es_##name parameters { return context.table->name names; }
#include "../include/kernels.h"
#include "../include/sparse_kernels.h"
#undef ES_KERNEL

}  // extern "C"
