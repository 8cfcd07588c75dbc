#include "../isa.h"

namespace ES_NS {

// Ten independent chains keep two units of five cycles' latency busy and fit sixteen registers.
int fma_peak(int64_t rounds, double *flops) {
  constexpr int CHAINS = 10;
  int threads = es_parallel_workers(65536);
  parallel_tasks(threads, [&](int, int) {
    F factor = set(0.999f), term = set(0.001f), x[CHAINS];
    for (int c = 0; c < CHAINS; c++) x[c] = set(static_cast<float>(c));
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 10
      for (int c = 0; c < CHAINS; c++) x[c] = fma(factor, x[c], term);
    }
    F total = zero();
    for (int c = 0; c < CHAINS; c++) total = total + x[c];
    volatile float keep = reduce_add(total);
    (void)keep;
  });
  *flops += 2.0 * W * CHAINS * static_cast<double>(rounds) * threads;
  return ES_OK;
}

}  // namespace ES_NS
