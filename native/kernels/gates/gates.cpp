#include "../random/philox.h"
#include "../update/rules.h"

namespace ES_NS {
namespace {

// Elements at a time: whole words of bits and whole blocks of draws, gradients on the stack.
constexpr int64_t TILE = 512;
constexpr int64_t GRAIN = 16384;
static_assert(TILE % 32 == 0 && TILE % WORDS == 0, "");

inline bool bit_of(const uint32_t *bits, int64_t i) { return (bits[i >> 5] >> (i & 31)) & 1u; }

inline bool complete(const Rule &rule, const float *m, const float *v) {
  if (rule.kind == RULE_SGD) return true;
  if (rule.kind == RULE_ADAM) return m != nullptr && v != nullptr;
  return rule.kind == RULE_ADAGRAD && v != nullptr;
}

}  // namespace

int mask_apply(int64_t n, const uint32_t *bits, const float *x, float *y) {
  parallel_ranges(n, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += 32) {
      uint32_t word = bits[i >> 5];
      int64_t count = end - i < 32 ? end - i : 32;
      for (int64_t j = 0; j < count; j++) y[i + j] = (word >> j) & 1u ? x[i + j] : 0.0f;
    }
  });
  return ES_OK;
}

// Bit i: g > 1/2, or a draw below g; effective = bit ? w : 0.
int gate_apply(int64_t n, int32_t sampled, int64_t key0, int64_t key1, int64_t counter, const float *w, const float *g,
               uint32_t *bits, float *effective) {
  parallel_ranges(n, GRAIN, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += TILE) {
      int64_t count = end - at < TILE ? end - at : TILE;
      alignas(64) float draws[TILE];
      if (sampled) {
        for (int64_t i = 0; i < count; i += WORDS) {
          uint32_t words[WORDS];
          philox(static_cast<uint32_t>(key0), static_cast<uint32_t>(key1), static_cast<uint64_t>(counter + (at + i) / 4),
                 words);
          for (int t = 0; t < WORDS; t++)
            draws[i + t] = static_cast<float>(static_cast<int32_t>(words[t] >> 8)) * 0x1p-24f;
        }
      } else {
        for (int64_t i = 0; i < count; i++) draws[i] = 0.5f;
      }
      for (int64_t i = 0; i < count; i += 32) {
        int64_t many = count - i < 32 ? count - i : 32;
        uint32_t word = 0;
        for (int64_t j = 0; j < many; j++) {
          bool on = draws[i + j] < g[at + i + j];
          word |= static_cast<uint32_t>(on) << j;
          effective[at + i + j] = on ? w[at + i + j] : 0.0f;
        }
        bits[(at + i) >> 5] = word;
      }
    }
  });
  return ES_OK;
}

// Straight through: dg = grad w + bimodal (1 - 2 g) + spread, dw = grad bit; both take their rule's step; g stays in
// [0, 1]. frozen: gates do not move.
int gate_update(int64_t n, const double *rule, float *w, float *m, float *v, const double *gate_rule, float *g,
                float *gate_m, float *gate_v, const uint32_t *bits, const float *grad, double grad_scale, double bimodal,
                double spread, int32_t frozen) {
  if (n <= 0) return ES_OK;
  Rule how(rule), gate_how(gate_rule);
  if (!complete(how, m, v) || (!frozen && !complete(gate_how, gate_m, gate_v))) return ES_BAD_ARGUMENT;
  F scale = set_double(grad_scale), twice = set_double(-2 * bimodal), push = set_double(bimodal + spread);
  parallel_ranges(n, GRAIN, [&](int64_t begin, int64_t end) {
    alignas(64) float weight_gradient[TILE], gate_gradient[TILE];
    for (int64_t at = begin; at < end; at += TILE) {
      int64_t count = end - at < TILE ? end - at : TILE;
      for (int64_t i = 0; i < count; i++) weight_gradient[i] = bit_of(bits, at + i) ? grad[at + i] : 0.0f;
      if (!frozen) {
        over_lanes(count, [&](int64_t i, int k) {
          F through = scale * get(grad + at + i, k) * get(w + at + i, k);
          put(gate_gradient + i, fma(twice, get(g + at + i, k), push) + through, k);
        });
      }
      apply_rule(how, how.weight_decay, count, weight_gradient, scale, Target{w, m, v, nullptr}.from(at));
      if (frozen) continue;
      apply_rule(gate_how, gate_how.weight_decay, count, gate_gradient, set(1.0f), Target{g, gate_m, gate_v, nullptr}.from(at));
      over_lanes(count, [&](int64_t i, int k) { put(g + at + i, min_of(set(1.0f), max_of(zero(), get(g + at + i, k))), k); });
    }
  });
  return ES_OK;
}

}  // namespace ES_NS
