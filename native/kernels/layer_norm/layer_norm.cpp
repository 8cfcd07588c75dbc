#include "../isa.h"

namespace ES_NS {
namespace {

constexpr int64_t GRAIN = 32768;  // elements per thread at least

// Rows of a matrix of this width that are worth a thread.
inline int64_t row_grain(int64_t dim) { return dim <= 0 ? GRAIN : (GRAIN + dim - 1) / dim; }

constexpr int64_t COLS = 64;
constexpr int LANES = COLS / W;

// dgamma and dbeta of the columns [j, j + width).
inline void column_gradients(int64_t rows, int64_t dim, int64_t j, int64_t width, const float *x, const float *mean,
                             const float *rstd, const float *dy, float *dgamma, float *dbeta) {
  F gammas[LANES], betas[LANES];
  for (int v = 0; v < LANES; v++) gammas[v] = betas[v] = zero();
  for (int64_t i = 0; i < rows; i++) {
    F mu = set(mean[i]), r = set(rstd[i]);
    over_lanes(width, [&](int64_t at, int n) {
      F d = get(dy + i * dim + j + at, n);
      F xhat = (get(x + i * dim + j + at, n) - mu) * r;
      gammas[at / W] = fma(d, xhat, gammas[at / W]);
      betas[at / W] = betas[at / W] + d;
    });
  }
  over_lanes(width, [&](int64_t at, int n) {
    put(dgamma + j + at, gammas[at / W], n);
    put(dbeta + j + at, betas[at / W], n);
  });
}

}  // namespace

// Ba, Kiros & Hinton 2016: mu = mean(x), sigma^2 = mean((x - mu)^2), y = (x - mu) / sqrt(sigma^2 + eps) * gamma + beta.
int layer_norm(int64_t rows, int64_t dim, double eps, const float *x, const float *gamma, const float *beta, float *y,
               float *mean, float *rstd) {
  parallel_ranges(rows, row_grain(dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const float *xi = x + i * dim;
      D2 total = zero_d2();
      over_lanes(dim, [&](int64_t j, int n) { total = add_wide(total, get(xi + j, n)); });
      float mu = static_cast<float>(reduce_add(total) / static_cast<double>(dim));
      F centre = set(mu);
      D2 squares = zero_d2();
      over_lanes(dim, [&](int64_t j, int n) {
        squares = add_wide_square(squares, keep_n(get(xi + j, n) - centre, n));
      });
      double variance = reduce_add(squares) / static_cast<double>(dim);
      float r = static_cast<float>(1.0 / __builtin_sqrt(variance + eps));
      F scale = set(r);
      over_lanes(dim, [&](int64_t j, int n) {
        put(y + i * dim + j, fma((get(xi + j, n) - centre) * scale, get(gamma + j, n), get(beta + j, n)), n);
      });
      mean[i] = mu;
      rstd[i] = r;
    }
  });
  return ES_OK;
}

// With xhat = (x - mu) rstd and g = dy gamma: dx = rstd (g - mean(g) - xhat mean(g xhat)),
// dgamma = sum over rows of dy xhat, dbeta = sum over rows of dy.
int layer_norm_backward(int64_t rows, int64_t dim, const float *x, const float *gamma, const float *mean,
                        const float *rstd, const float *dy, float *dx, float *dgamma, float *dbeta) {
  // The sums over rows come first: dx may lie in place of dy. Threads share the columns, so that the order of a
  // sum never depends on them.
  parallel_ranges(dim, rows * dim < 65536 ? dim + 1 : COLS, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j += COLS) {
      column_gradients(rows, dim, j, end - j < COLS ? end - j : COLS, x, mean, rstd, dy, dgamma, dbeta);
    }
  });
  parallel_ranges(rows, row_grain(dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const float *xi = x + i * dim, *di = dy + i * dim;
      F mu = set(mean[i]), r = set(rstd[i]);
      F sum_g = zero(), sum_gx = zero();
      over_lanes(dim, [&](int64_t j, int n) {
        F g = get(di + j, n) * get(gamma + j, n);
        sum_g = sum_g + g;
        sum_gx = fma(g, (get(xi + j, n) - mu) * r, sum_gx);
      });
      float inverse = 1.0f / static_cast<float>(dim);
      F mean_g = set(reduce_add(sum_g) * inverse), mean_gx = set(reduce_add(sum_gx) * inverse);
      over_lanes(dim, [&](int64_t j, int n) {
        F g = get(di + j, n) * get(gamma + j, n);
        F xhat = (get(xi + j, n) - mu) * r;
        put(dx + i * dim + j, r * fnma(xhat, mean_gx, g - mean_g), n);
      });
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
