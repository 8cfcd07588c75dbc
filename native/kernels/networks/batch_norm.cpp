#include "../isa.h"

namespace ES_NS {
namespace {

inline int64_t channel_grain(int64_t batch, int64_t plane) { return 1 + 32768 / (batch * plane + 1); }

// body(offset of a plane) for the planes of one channel, in the order of the batch.
template <class Body>
inline void over_planes(int64_t batch, int64_t channels, int64_t plane, int64_t c, const Body &body) {
  for (int64_t b = 0; b < batch; b++) body((b * channels + c) * plane);
}

// y = (x - mean) * scale + shift, relu after it.
inline void normalise(int64_t batch, int64_t channels, int64_t plane, int64_t c, const float *x, float mean, float scale,
                      float shift, bool relu, float *y) {
  F centre = set(mean), factor = set(scale), add = set(shift);
  over_planes(batch, channels, plane, c, [&](int64_t at) {
    if (relu) {
      over_lanes(plane, [&](int64_t j, int n) {
        put(y + at + j, max_of(zero(), fma(get(x + at + j, n) - centre, factor, add)), n);
      });
    } else {
      over_lanes(plane, [&](int64_t j, int n) { put(y + at + j, fma(get(x + at + j, n) - centre, factor, add), n); });
    }
  });
}

}  // namespace

// Ioffe & Szegedy 2015, algorithm 1, per channel over batch and plane; running variance with n / (n - 1).
int batch_norm(int64_t batch, int64_t channels, int64_t plane, double eps, double momentum, int32_t relu, const float *x,
               const float *gamma, const float *beta, float *running_mean, float *running_var, float *y, float *mean,
               float *rstd) {
  int64_t n = batch * plane;
  if (n <= 0) return ES_OK;
  parallel_ranges(channels, channel_grain(batch, plane), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++) {
      D2 total = zero_d2();
      over_planes(batch, channels, plane, c, [&](int64_t at) {
        over_lanes(plane, [&](int64_t j, int k) { total = add_wide(total, get(x + at + j, k)); });
      });
      float mu = static_cast<float>(reduce_add(total) / static_cast<double>(n));
      F centre = set(mu);
      D2 squares = zero_d2();
      over_planes(batch, channels, plane, c, [&](int64_t at) {
        over_lanes(plane, [&](int64_t j, int k) {
          squares = add_wide_square(squares, keep_n(get(x + at + j, k) - centre, k));
        });
      });
      double variance = reduce_add(squares) / static_cast<double>(n);
      float r = static_cast<float>(1.0 / __builtin_sqrt(variance + eps));
      mean[c] = mu;
      rstd[c] = r;
      double unbiased = n > 1 ? variance * static_cast<double>(n) / static_cast<double>(n - 1) : variance;
      running_mean[c] = static_cast<float>((1 - momentum) * running_mean[c] + momentum * mu);
      running_var[c] = static_cast<float>((1 - momentum) * running_var[c] + momentum * unbiased);
      normalise(batch, channels, plane, c, x, mu, gamma[c] * r, beta[c], relu != 0, y);
    }
  });
  return ES_OK;
}

int batch_norm_apply(int64_t batch, int64_t channels, int64_t plane, double eps, int32_t relu, const float *x,
                     const float *gamma, const float *beta, const float *mean, const float *variance, float *y) {
  parallel_ranges(channels, channel_grain(batch, plane), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++) {
      float r = static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(variance[c]) + eps));
      normalise(batch, channels, plane, c, x, mean[c], gamma[c] * r, beta[c], relu != 0, y);
    }
  });
  return ES_OK;
}

// With xhat = (x - mu) rstd: dbeta = sum dy, dgamma = sum dy xhat, dx = gamma rstd (dy - dbeta / n - xhat dgamma / n);
// y, where given, is relu's output: dy counts where y > 0.
int batch_norm_backward(int64_t batch, int64_t channels, int64_t plane, const float *x, const float *y, const float *gamma,
                        const float *mean, const float *rstd, const float *dy, float *dx, float *dgamma, float *dbeta) {
  int64_t n = batch * plane;
  if (n <= 0) return ES_OK;
  parallel_ranges(channels, channel_grain(batch, plane), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c++) {
      F mu = set(mean[c]), r = set(rstd[c]);
      D2 sum = zero_d2(), sum_x = zero_d2();
      auto gradient = [&](int64_t i, int k) {
        F d = get(dy + i, k);
        return y == nullptr ? d : select(less(zero(), get(y + i, k)), d, zero());
      };
      over_planes(batch, channels, plane, c, [&](int64_t at) {
        F part = zero(), part_x = zero();
        over_lanes(plane, [&](int64_t j, int k) {
          F d = gradient(at + j, k);
          part = part + d;
          part_x = fma(d, (get(x + at + j, k) - mu) * r, part_x);
        });
        sum = add_wide(sum, part);
        sum_x = add_wide(sum_x, part_x);
      });
      double beta_sum = reduce_add(sum), gamma_sum = reduce_add(sum_x);
      dbeta[c] = static_cast<float>(beta_sum);
      dgamma[c] = static_cast<float>(gamma_sum);
      if (dx == nullptr) continue;
      F mean_d = set(static_cast<float>(beta_sum / static_cast<double>(n)));
      F mean_dx = set(static_cast<float>(gamma_sum / static_cast<double>(n)));
      F factor = set(gamma[c] * rstd[c]);
      over_planes(batch, channels, plane, c, [&](int64_t at) {
        over_lanes(plane, [&](int64_t j, int k) {
          F xhat = (get(x + at + j, k) - mu) * r;
          put(dx + at + j, factor * fnma(xhat, mean_dx, gradient(at + j, k) - mean_d), k);
        });
      });
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
