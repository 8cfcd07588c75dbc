// Small inverses in double: Gauss-Jordan with partial pivoting, in place. No fused multiply-add: the slow twin has
// the same bits.
#include "../isa.h"

namespace ES_NS {
namespace {

inline double magnitude(double x) { return x < 0 ? -x : x; }

inline void swap_rows(int64_t n, double *__restrict a, double *__restrict b) {
  for (int64_t j = 0; j < n; j++) {
    double t = a[j];
    a[j] = b[j];
    b[j] = t;
  }
}

inline void eliminate(int64_t n, double factor, const double *__restrict pivot, double *__restrict row) {
  for (int64_t j = 0; j < n; j++) row[j] = row[j] - factor * pivot[j];
}

}  // namespace

int invert(int64_t n, double *a, double *scratch, double *pivot) {
  if (n < 0) return ES_BAD_ARGUMENT;
  double smallest = __builtin_inf(), largest = 0;
  *pivot = n == 0 ? 1 : 0;
  for (int64_t k = 0; k < n; k++) {
    int64_t best = k;
    for (int64_t i = k + 1; i < n; i++) {
      if (magnitude(a[i * n + k]) > magnitude(a[best * n + k])) best = i;
    }
    double p = a[best * n + k], size = magnitude(p);
    if (p != p) {
      *pivot = p;
      return ES_OK;
    }
    if (size == 0) return ES_OK;
    if (size < smallest) smallest = size;
    if (size > largest) largest = size;
    scratch[k] = static_cast<double>(best);
    if (best != k) swap_rows(n, a + k * n, a + best * n);
    double *top = a + k * n;
    top[k] = 1;
    for (int64_t j = 0; j < n; j++) top[j] = top[j] / p;
    parallel_ranges(n, 65536 / n + 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        if (i == k) continue;
        double *row = a + i * n, factor = row[k];
        row[k] = 0;
        eliminate(n, factor, top, row);
      }
    });
  }
  // The rows were exchanged on the way: exchange the columns back.
  for (int64_t k = n; k-- > 0;) {
    int64_t best = static_cast<int64_t>(scratch[k]);
    if (best == k) continue;
    for (int64_t i = 0; i < n; i++) {
      double t = a[i * n + k];
      a[i * n + k] = a[i * n + best];
      a[i * n + best] = t;
    }
  }
  if (n > 0) *pivot = smallest / largest;
  return ES_OK;
}

}  // namespace ES_NS
