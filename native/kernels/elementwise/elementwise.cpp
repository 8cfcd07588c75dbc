#include "../isa.h"

namespace ES_NS {
namespace {

// Below this many elements a second thread costs more than it brings.
constexpr int64_t GRAIN = 32768;

// out[i] = fn(lanes of a, lanes of b); out may be a or b.
template <class Fn>
inline int map(int64_t n, const float *a, const float *b, float *out, const Fn &fn) {
  parallel_ranges(n, GRAIN, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + W <= end; i += W) store(out + i, fn(load(a + i), load(b + i)));
    int rest = static_cast<int>(end - i);
    if (rest > 0) store_n(out + i, fn(load_n(a + i, rest), load_n(b + i, rest)), rest);
  });
  return ES_OK;
}

}  // namespace

int relu(int64_t n, const float *x, float *y) {
  // Zero first: max_of hands on a NaN of its second operand.
  return map(n, x, x, y, [](F a, F) { return max_of(zero(), a); });
}

// relu'(0) = 0.
int relu_backward(int64_t n, const float *y, const float *dy, float *dx) {
  return map(n, y, dy, dx, [](F a, F d) { return select(less(zero(), a), d, zero()); });
}

// x Phi(x). Clamped below only where Phi is 0 in float, so that -infinity gives 0; the fma turns -0 into 0.
int gelu(int64_t n, const float *x, float *y) {
  return map(n, x, x, y, [](F a, F) {
    return fma(max_of(set(-NORMAL_END), a), normal_of(normal_clamp(a)).below, zero());
  });
}

int gelu_backward(int64_t n, const float *x, const float *dy, float *dx) {
  return map(n, x, dy, dx, [](F a, F d) {
    F clamped = normal_clamp(a);
    Normal normal = normal_of(clamped);
    return d * fma(clamped, normal.density, normal.below);
  });
}

int add(int64_t n, const float *a, const float *b, double alpha, float *out) {
  F factor = set(static_cast<float>(alpha));
  return map(n, a, b, out, [=](F x, F y) { return fma(factor, y, x); });
}

int multiply(int64_t n, const float *a, const float *b, float *out) {
  return map(n, a, b, out, [](F x, F y) { return x * y; });
}

int scale(int64_t n, double alpha, const float *x, float *out) {
  F factor = set(static_cast<float>(alpha));
  return map(n, x, x, out, [=](F a, F) { return factor * a; });
}

}  // namespace ES_NS
