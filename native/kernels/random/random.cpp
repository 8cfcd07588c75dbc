#include "philox.h"

namespace ES_NS {
namespace {

constexpr int64_t GRAIN = 16384;  // elements; a multiple of WORDS

// fn(first element, count, their bits) over [0, n).
template <class Fn>
inline int over_bits(int64_t n, int64_t key0, int64_t key1, int64_t counter, const Fn &fn) {
  parallel_ranges(n, GRAIN, [&](int64_t begin, int64_t end) {
    uint32_t bits[WORDS];
    for (int64_t i = begin; i < end; i += WORDS) {
      philox(static_cast<uint32_t>(key0), static_cast<uint32_t>(key1), static_cast<uint64_t>(counter + i / 4), bits);
      fn(i, end - i < WORDS ? static_cast<int>(end - i) : WORDS, bits);
    }
  });
  return ES_OK;
}

}  // namespace

// In double, rounded once: the same bits as the TypeScript twin.
int uniform(int64_t n, int64_t key0, int64_t key1, int64_t counter, double low, double high, float *out) {
  double width = high - low;
  return over_bits(n, key0, key1, counter, [=](int64_t i, int count, const uint32_t *bits) {
    for (int t = 0; t < count; t++) {
      out[i + t] = static_cast<float>(low + width * (static_cast<int32_t>(bits[t] >> 8) * 0x1p-24));
    }
  });
}

// u < p exactly when its 24 bits are below ceil(p * 2^24).
int dropout(int64_t n, int64_t key0, int64_t key1, int64_t counter, double p, const float *x, float *y) {
  if (!(p >= 0 && p <= 1)) return ES_BAD_ARGUMENT;
  double keep = 1 - p;
  int32_t threshold = static_cast<int32_t>(__builtin_ceil(p * 0x1p24));
  return over_bits(n, key0, key1, counter, [=](int64_t i, int count, const uint32_t *bits) {
    for (int t = 0; t < count; t++) {
      float kept = static_cast<float>(static_cast<double>(x[i + t]) / keep);
      y[i + t] = static_cast<int32_t>(bits[t] >> 8) < threshold ? 0.0f : kept;
    }
  });
}

}  // namespace ES_NS
