#include "../isa.h"

namespace ES_NS {
namespace {

constexpr int64_t GRAIN = 32768;
constexpr int64_t COLS = 64;
constexpr int LANES = COLS / W;
// Rows added in float before they join the total: keeps the error of long columns small.
constexpr int64_t RUN = 128;

inline int64_t row_grain(int64_t dim) { return dim <= 0 ? GRAIN : (GRAIN + dim - 1) / dim; }

}  // namespace

int affine(int64_t rows, int64_t dim, const float *x, const float *gamma, const float *beta, float *y) {
  parallel_ranges(rows, row_grain(dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const float *from = x + i * dim;
      float *to = y + i * dim;
      if (beta == nullptr) {
        over_lanes(dim, [&](int64_t j, int n) { put(to + j, get(from + j, n) * get(gamma + j, n), n); });
      } else {
        over_lanes(dim, [&](int64_t j, int n) { put(to + j, fma(get(from + j, n), get(gamma + j, n), get(beta + j, n)), n); });
      }
    }
  });
  return ES_OK;
}

// dgamma = sum over rows of dy x, dbeta = sum over rows of dy, dx = dy gamma.
int affine_backward(int64_t rows, int64_t dim, const float *x, const float *gamma, const float *dy, float *dx,
                    float *dgamma, float *dbeta) {
  // The sums over rows come first: dx may lie in place of dy. Threads share the columns, so that the order of a sum
  // never depends on them.
  if (dgamma != nullptr || dbeta != nullptr) {
    parallel_ranges(dim, rows * dim < 65536 ? dim + 1 : COLS, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; j += COLS) {
        int64_t width = end - j < COLS ? end - j : COLS;
        F gammas[LANES], betas[LANES];
        for (int v = 0; v < LANES; v++) gammas[v] = betas[v] = zero();
        for (int64_t i0 = 0; i0 < rows; i0 += RUN) {
          int64_t i1 = i0 + RUN < rows ? i0 + RUN : rows;
          F gamma_run[LANES], beta_run[LANES];
          for (int v = 0; v < LANES; v++) gamma_run[v] = beta_run[v] = zero();
          for (int64_t i = i0; i < i1; i++) {
            over_lanes(width, [&](int64_t at, int n) {
              F d = get(dy + i * dim + j + at, n);
              gamma_run[at / W] = fma(d, get(x + i * dim + j + at, n), gamma_run[at / W]);
              beta_run[at / W] = beta_run[at / W] + d;
            });
          }
          for (int v = 0; v < LANES; v++) gammas[v] = gammas[v] + gamma_run[v], betas[v] = betas[v] + beta_run[v];
        }
        over_lanes(width, [&](int64_t at, int n) {
          if (dgamma != nullptr) put(dgamma + j + at, gammas[at / W], n);
          if (dbeta != nullptr) put(dbeta + j + at, betas[at / W], n);
        });
      }
    });
  }
  if (dx == nullptr) return ES_OK;
  return affine(rows, dim, dy, gamma, nullptr, dx);
}

}  // namespace ES_NS
