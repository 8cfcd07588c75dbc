// Loops over any number of floats: whole registers, then one partial.
#pragma once

#include <stdint.h>

namespace ES_NS {
namespace {

inline F set_double(double x) { return set(static_cast<float>(x)); }

// body(i, count) over [0, n): count is W, and less at the end.
template <class Body>
inline void over_lanes(int64_t n, const Body &body) {
  int64_t i = 0;
  for (; i + W <= n; i += W) body(i, W);
  if (i < n) body(i, static_cast<int>(n - i));
}

inline F get(const float *p, int n) { return n == W ? load(p) : load_n(p, n); }
inline void put(float *p, F a, int n) {
  if (n == W) store(p, a);
  else store_n(p, a, n);
}

}  // namespace
}  // namespace ES_NS
