#include "../isa.h"

namespace ES_NS {
namespace {

constexpr int64_t GRAIN = 4096;

inline F sigmoid_of(F x) { return set(1.0f) / (set(1.0f) + exp_of(zero() - x)); }

// By (1 - e) / (1 + e), e = exp(-2 |x|), and near 0, where that cancels, by an odd polynomial fitted to |x| <= 5/8.
inline F tanh_of(F x) {
  F size = abs_of(x);
  F e = exp_of(set(-2.0f) * size);
  F far = (set(1.0f) - e) / (set(1.0f) + e);
  far = select(less(x, zero()), zero() - far, far);
  F u = x * x;
  F p = set(-0.005705f);
  p = fma(p, u, set(0.0206391f));
  p = fma(p, u, set(-0.05373972f));
  p = fma(p, u, set(0.13331442f));
  p = fma(p, u, set(-0.33333282f));
  return select(less(size, set(0.625f)), fma(p * u, x, x), far);
}

// The slopes of sigmoid and tanh from their values.
inline F sigmoid_slope(F y) { return fnma(y, y, y); }
inline F tanh_slope(F y) { return fnma(y, y, set(1.0f)); }

inline int64_t row_grain(int64_t hidden) { return 1 + GRAIN / (hidden + 1); }

// dh_next may be null.
inline F gradient_of_h(const float *dh, const float *dh_next, int64_t i, int n) {
  F d = get(dh + i, n);
  return dh_next == nullptr ? d : d + get(dh_next + i, n);
}

}  // namespace

int tanh_forward(int64_t n, const float *x, float *y) {
  parallel_ranges(n, 4 * GRAIN, [&](int64_t begin, int64_t end) {
    over_lanes(end - begin, [&](int64_t i, int k) { put(y + begin + i, tanh_of(get(x + begin + i, k)), k); });
  });
  return ES_OK;
}

int tanh_backward(int64_t n, const float *y, const float *dy, float *dx) {
  parallel_ranges(n, 4 * GRAIN, [&](int64_t begin, int64_t end) {
    over_lanes(end - begin, [&](int64_t i, int k) {
      put(dx + begin + i, get(dy + begin + i, k) * tanh_slope(get(y + begin + i, k)), k);
    });
  });
  return ES_OK;
}

// gates [batch, 4, hidden] in the order i, f, g, o: sums in, their sigmoids and tanh out.
// c = f c_before + i g, h = o tanh(c) (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).
int lstm_cell(int64_t batch, int64_t hidden, float *gates, const float *c_before, float *c, float *h) {
  parallel_ranges(batch, row_grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      float *row = gates + b * 4 * hidden;
      over_lanes(hidden, [&](int64_t j, int n) {
        F in = sigmoid_of(get(row + j, n)), forget = sigmoid_of(get(row + hidden + j, n));
        F cell = tanh_of(get(row + 2 * hidden + j, n)), out = sigmoid_of(get(row + 3 * hidden + j, n));
        F state = fma(in, cell, forget * get(c_before + b * hidden + j, n));
        put(row + j, in, n);
        put(row + hidden + j, forget, n);
        put(row + 2 * hidden + j, cell, n);
        put(row + 3 * hidden + j, out, n);
        put(c + b * hidden + j, state, n);
        put(h + b * hidden + j, out * tanh_of(state), n);
      });
    }
  });
  return ES_OK;
}

int lstm_cell_backward(int64_t batch, int64_t hidden, const float *gates, const float *c_before, const float *c,
                       const float *dh, const float *dh_next, float *dc, float *dgates) {
  parallel_ranges(batch, row_grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const float *row = gates + b * 4 * hidden;
      float *to = dgates + b * 4 * hidden;
      over_lanes(hidden, [&](int64_t j, int n) {
        int64_t at = b * hidden + j;
        F in = get(row + j, n), forget = get(row + hidden + j, n);
        F cell = get(row + 2 * hidden + j, n), out = get(row + 3 * hidden + j, n);
        F squashed = tanh_of(get(c + at, n)), d = gradient_of_h(dh, dh_next, at, n);
        F of_state = fma(d * out, tanh_slope(squashed), get(dc + at, n));
        put(to + j, of_state * cell * sigmoid_slope(in), n);
        put(to + hidden + j, of_state * get(c_before + at, n) * sigmoid_slope(forget), n);
        put(to + 2 * hidden + j, of_state * in * tanh_slope(cell), n);
        put(to + 3 * hidden + j, d * squashed * sigmoid_slope(out), n);
        put(dc + at, of_state * forget, n);
      });
    }
  });
  return ES_OK;
}

// gates [batch, 3, hidden] in the order r, z, n: sums from the input in, their sigmoids and tanh out; from_h the sums
// from h_before. n = tanh(x_n + r h_n), h = (1 - z) n + z h_before (Cho et al. 2014, r after the product).
int gru_cell(int64_t batch, int64_t hidden, float *gates, const float *from_h, const float *h_before, float *h) {
  parallel_ranges(batch, row_grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      float *row = gates + b * 3 * hidden;
      const float *with = from_h + b * 3 * hidden;
      over_lanes(hidden, [&](int64_t j, int k) {
        F reset = sigmoid_of(get(row + j, k) + get(with + j, k));
        F keep = sigmoid_of(get(row + hidden + j, k) + get(with + hidden + j, k));
        F fresh = tanh_of(fma(reset, get(with + 2 * hidden + j, k), get(row + 2 * hidden + j, k)));
        put(row + j, reset, k);
        put(row + hidden + j, keep, k);
        put(row + 2 * hidden + j, fresh, k);
        put(h + b * hidden + j, fma(keep, get(h_before + b * hidden + j, k) - fresh, fresh), k);
      });
    }
  });
  return ES_OK;
}

int gru_cell_backward(int64_t batch, int64_t hidden, const float *gates, const float *from_h, const float *h_before,
                      const float *dh, const float *dh_next, float *dgates, float *dfrom_h, float *dh_before) {
  parallel_ranges(batch, row_grain(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const float *row = gates + b * 3 * hidden, *with = from_h + b * 3 * hidden;
      float *to = dgates + b * 3 * hidden, *to_h = dfrom_h + b * 3 * hidden;
      over_lanes(hidden, [&](int64_t j, int k) {
        int64_t at = b * hidden + j;
        F reset = get(row + j, k), keep = get(row + hidden + j, k), fresh = get(row + 2 * hidden + j, k);
        F d = gradient_of_h(dh, dh_next, at, k);
        F of_fresh = d * (set(1.0f) - keep) * tanh_slope(fresh);
        F of_reset = of_fresh * get(with + 2 * hidden + j, k) * sigmoid_slope(reset);
        F of_keep = d * (get(h_before + at, k) - fresh) * sigmoid_slope(keep);
        put(to + j, of_reset, k);
        put(to + hidden + j, of_keep, k);
        put(to + 2 * hidden + j, of_fresh, k);
        put(to_h + j, of_reset, k);
        put(to_h + hidden + j, of_keep, k);
        put(to_h + 2 * hidden + j, of_fresh * reset, k);
        put(dh_before + at, d * keep, k);
      });
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
