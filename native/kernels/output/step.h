// What the fan-in and the dense step share: arguments, the batch in blocks of registers, the cuts of a slab.
#pragma once

#include "../gemm/gemm_tile.h"
#include "lanes.h"
#include "loss.h"
#include "positives.h"
#include "update.h"

namespace ES_NS {
namespace {

struct StepArgs {
  int64_t batch, inputs, labels, begin, end, chunk;
  const float *h;
  float *dh;
  Positives positives;
  int loss;
  bool backward;
  Update update;
  Target weights, bias;
  double *squares;
  float *workspace;
  int64_t workspace_length;
  double *loss_sum;
  float *norm;  // [2][batch]: log Z, and the share of one positive; softmax only

  bool sizes_in_range() const {
    return batch >= 0 && inputs >= 1 && labels >= 0 && chunk >= 1 && loss_sum != nullptr &&
           loss >= LOSS_BCE && loss <= LOSS_LOG_SUM && (loss < LOSS_SOFTMAX || norm != nullptr) &&
           (loss != LOSS_LOG_SUM || !backward);
  }
  // begin and end count labels, or groups of labels, of which there are `total`.
  bool slab_in_range(int64_t total) const {
    return begin >= 0 && begin <= end && end <= total && begin % chunk == 0 && (end == total || end % chunk == 0);
  }
  bool in_range() const { return sizes_in_range() && slab_in_range(labels); }
  int64_t chunks() const { return (end - begin + chunk - 1) / chunk; }
  bool wants_dh() const { return backward && dh != nullptr; }
};

#define ES_STEP_ARGS                                                                                             \
  {batch, inputs, labels, begin, end, chunk, h, dh, {positive_count, positive_label, positive_row}, loss,        \
   backward != 0, {rule, grad_scale, update_scale, squares != nullptr},                                          \
   {weights, weight_m, weight_v, d_weights}, {bias, bias_m, bias_v, d_bias}, squares, workspace, workspace_length, \
   loss_sum, norm}

// The batch as `vecs` registers, cut into blocks of nearly equal width, none wider than MAX_VECS.
struct Blocks {
  int64_t batch, vecs, count;

  explicit Blocks(int64_t rows) : batch(rows), vecs((rows + W - 1) / W), count((vecs + MAX_VECS - 1) / MAX_VECS) {}
  int64_t first_vec(int64_t block) const { return vecs * block / count; }
  int width(int64_t block) const { return static_cast<int>(first_vec(block + 1) - first_vec(block)); }
  int64_t first_row(int64_t block) const { return first_vec(block) * W; }
  // Rows of the block that exist.
  int64_t rows(int64_t block) const {
    int64_t end = first_vec(block + 1) * W;
    return (end < batch ? end : batch) - first_row(block);
  }
  int64_t padded() const { return vecs * W; }
};

template <int NV>
struct Width {
  static constexpr int value = NV;
};

// body(Width<NV>, block) for every block of the batch.
template <class Body>
inline void each_block(const Blocks &blocks, const Body &body) {
  for (int64_t block = 0; block < blocks.count; block++) {
    switch (blocks.width(block)) {
      case 1: body(Width<1>{}, block); break;
      case 2: body(Width<2>{}, block); break;
      case 3: body(Width<3>{}, block); break;
      case 4: body(Width<4>{}, block); break;
#if !defined(__AVX2__)
      case 5: body(Width<5>{}, block); break;
      case 6: body(Width<6>{}, block); break;
      case 7: body(Width<7>{}, block); break;
      case 8: body(Width<8>{}, block); break;
#endif
    }
  }
}

// What one worker brings back from a slab.
struct Results {
  double loss, weight_squares, bias_squares;
  int32_t code;

  void add_to(const StepArgs &step) const {
    *step.loss_sum += loss;
    if (step.squares == nullptr || !step.backward) return;
    step.squares[0] += weight_squares;
    step.squares[1] += bias_squares;
  }
};

// Stands at the head of a workspace, so that a later slab notices when it is not the one of the slabs before.
struct Mark {
  int32_t threads, lanes, batch, inputs;

  void write(float *header) const { __builtin_memcpy(header, this, sizeof *this); }
  bool matches(const float *header) const { return __builtin_memcmp(header, this, sizeof *this) == 0; }
};

// hT: per block [inputs][width * W], block after block; zero in the lanes beyond the batch.
inline void transpose_hidden(const Blocks &blocks, int64_t inputs, const float *h, float *hT) {
  parallel_ranges(inputs, 64, [&](int64_t from, int64_t to) {
    each_block(blocks, [&](auto width, int64_t block) {
      constexpr int64_t WIDE = decltype(width)::value * W;
      int64_t rows = blocks.rows(block), first = blocks.first_row(block);
      const float *in = h + first * inputs;
      float *out = hT + first * inputs;
      if constexpr (WIDE % 8 == 0) {
        pack_transposed<WIDE>(static_cast<int>(rows), static_cast<int>(to - from), in + from, inputs, out + from * WIDE);
      } else {
        for (int64_t j = from; j < to; j++) {
          for (int64_t r = 0; r < rows; r++) out[j * WIDE + r] = in[r * inputs + j];
        }
      }
      for (int64_t j = from; j < to && rows < WIDE; j++) {
        __builtin_memset(out + j * WIDE + rows, 0, static_cast<size_t>(WIDE - rows) * 4);
      }
    });
  });
}

// dh[b, j] = scale * sum over parts, in order, of part[t][block][j][b].
inline void reduce_hidden(const Blocks &blocks, int64_t inputs, double scale, int parts, const float *part, int64_t stride,
                          float *dh) {
  parallel_ranges(inputs, 64, [&](int64_t from, int64_t to) {
    each_block(blocks, [&](auto width, int64_t block) {
      constexpr int64_t WIDE = decltype(width)::value * W, STEP = 8;
      alignas(64) float tile[STEP * WIDE];
      int64_t rows = blocks.rows(block), first = blocks.first_row(block);
      for (int64_t j = from; j < to; j += STEP) {
        int64_t count = to - j < STEP ? to - j : STEP;
        const float *in = part + first * inputs + j * WIDE;
        for (int64_t i = 0; i < count * WIDE; i += W) {
          F sum = load(in + i);
          for (int t = 1; t < parts; t++) sum = sum + load(in + t * stride + i);
          store(tile + i, set_double(scale) * sum);
        }
        float *out = dh + first * inputs + j;
        if (count == STEP) {
          transpose_rows<STEP>(STEP, static_cast<int>(rows), tile, WIDE, out, static_cast<int>(inputs));
          continue;
        }
        for (int64_t r = 0; r < rows; r++) {
          for (int64_t i = 0; i < count; i++) out[r * inputs + i] = tile[i * WIDE + r];
        }
      }
    });
  });
}

// What softmax keeps per row of the batch, in lanes: of all workers the final norms, of each its sum so far.
struct Norms {
  float *log_sum, *share;  // [padded]
  float *max;              // [padded] of one worker
  double *sum;             // [padded] of e^(z - max)

  static int64_t shared_length(const Blocks &blocks) { return round_up(2 * blocks.padded(), 16); }
  static int64_t worker_length(const Blocks &blocks) { return 3 * round_up(blocks.padded(), 16); }

  // Of a loss that needs none.
  Norms() : log_sum(nullptr), share(nullptr), max(nullptr), sum(nullptr) {}
  Norms(const Blocks &blocks, float *shared, float *worker)
      : log_sum(shared),
        share(shared + blocks.padded()),
        max(worker),
        sum(reinterpret_cast<double *>(worker + round_up(blocks.padded(), 16))) {}

  // No logit is below; its distance to any still is a number.
  static constexpr float LOWEST = -1e30f;

  void clear(const Blocks &blocks) {
    for (int64_t b = 0; b < blocks.padded(); b++) {
      max[b] = LOWEST;
      sum[b] = 0.0;
    }
  }
  // Rows without a target and lanes beyond the batch: no logit is near their sum, no gradient comes of it.
  void read(const Blocks &blocks, const float *norm) {
    for (int64_t b = 0; b < blocks.padded(); b++) {
      share[b] = b < blocks.batch ? norm[blocks.batch + b] : 0.0f;
      log_sum[b] = share[b] != 0.0f ? norm[b] : -LOWEST;
    }
  }
};

// What comes before the first slab; worker(t) are the norms of worker t.
template <class Of>
inline void begin_norms(const StepArgs &step, const Blocks &blocks, int workers, const Of &worker) {
  if (step.loss == LOSS_SOFTMAX) worker(0).read(blocks, step.norm);
  for (int t = 0; t < workers && step.loss == LOSS_LOG_SUM; t++) worker(t).clear(blocks);
}

// After the last slab of the first walk: norm[b] = log Z_b, over the workers in order.
template <class Of>
inline void end_norms(const StepArgs &step, int workers, const Of &worker) {
  if (step.loss != LOSS_LOG_SUM) return;
  for (int64_t b = 0; b < step.batch; b++) {
    double max = Norms::LOWEST, sum = 0.0;
    for (int t = 0; t < workers; t++) {
      const double other = worker(t).max[b];
      if (other > max) max = other;
    }
    for (int t = 0; t < workers; t++) {
      const Norms norms = worker(t);
      sum += norms.sum[b] * __builtin_exp(static_cast<double>(norms.max[b]) - max);
    }
    step.norm[b] = static_cast<float>(max + __builtin_log(sum));
  }
}

// Turns the logits of one label into G, block by block: owns the walk over the positives and the pad lanes.
class LabelLoss {
 public:
  // positives_at: the first positive that may belong to the labels that follow.
  LabelLoss(const StepArgs &step, const Blocks &blocks, int64_t block, int64_t positives_at, const Norms &norms)
      : positives_(step.positives),
        kind_(step.loss),
        norms_(norms),
        first_row_(static_cast<uint32_t>(blocks.first_row(block))),
        rows_(static_cast<uint32_t>(blocks.rows(block))),
        lanes_(blocks.width(block) * W),
        next_(positives_at) {
    int used = static_cast<int>(blocks.rows(block) - (blocks.width(block) - 1) * W);
    for (int i = 0; i < W; i++) limit_[i] = i < used ? __builtin_inff() : -1e30f;
    for (int i = 0; i < MAX_VECS * W; i++) flip_[i] = 1.0f;
    if (kind_ != LOSS_LOG_SUM) return;
    for (int i = 0; i < lanes_; i++) {
      max_[i] = norms.max[first_row_ + i];
      sum_[i] = 0.0f;
    }
  }

  // z -> G. Labels ascend. `sum` is the caller's own, not a member: it lives in registers.
  template <int NV>
  __attribute__((always_inline)) inline void gradient(uint32_t label, F *z, LossSum &sum) {
    // -1e30 in the lanes beyond the batch: their loss and gradient vanish.
    z[NV - 1] = min_of(load(limit_), z[NV - 1]);
    bool positive = next_ < positives_.count && positives_.label[next_] == label && raise(label);
    if (kind_ >= LOSS_SOFTMAX) {
      if (kind_ == LOSS_SOFTMAX) softmax<NV>(z, sum);
      else log_sum<NV>(z);
      if (positive) lower();
      return;
    }
    if (positive) flip<NV>(z);
    if (kind_ == LOSS_BCE) {
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) z[v] = sum.bce(z[v]);
    } else {
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) z[v] = sum.squared_hinge(z[v]);
    }
    sum.count(NV);
    if (positive) {
      flip<NV>(z);
      lower();
    }
  }

  // After the last label: the loss, and what the chunk adds to the sums of the worker, which are double because a
  // float32 sum over all labels would lose the small terms.
  double finish(LossSum &sum) {
    for (int i = 0; kind_ == LOSS_LOG_SUM && i < lanes_; i++) {
      float &max = norms_.max[first_row_ + i];
      double &all = norms_.sum[first_row_ + i];
      if (max_[i] != max) all *= __builtin_exp(static_cast<double>(max) - max_[i]);
      all += sum_[i];
      max = max_[i];
    }
    return sum.total();
  }

 private:
  template <int NV>
  inline void softmax(F *z, LossSum &sum) const {
    const float *log_sum = norms_.log_sum + first_row_, *share = norms_.share + first_row_;
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      F y = set(0.5f) * load(share + v * W) * (set(1.0f) - load(flip_ + v * W));
      z[v] = sum.softmax(load(log_sum + v * W) - z[v], y);
    }
    sum.count(NV);
  }

  template <int NV>
  inline void log_sum(const F *z) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) {
      F max = load(max_ + v * W), sum = load(sum_ + v * W);
      if (not_below(z[v], max) != 0) {
        F higher = max_of(max, z[v]);
        sum = sum * exp_minus(higher - max);
        max = higher;
        store(max_ + v * W, max);
      }
      store(sum_ + v * W, sum + exp_minus(max - z[v]));
    }
  }

  template <int NV>
  inline void flip(F *z) const {
    for (int v = 0; v < NV; v++) z[v] = z[v] * load(flip_ + v * W);
  }

  // -1 at the rows of this block where `label` is positive; whether there is one.
  __attribute__((noinline)) bool raise(uint32_t label) {
    bool any = false;
    from_ = next_;
    for (; next_ < positives_.count && positives_.label[next_] == label; next_++) {
      uint32_t row = positives_.row[next_] - first_row_;
      if (row >= rows_) continue;
      flip_[row] = -1.0f;
      any = true;
    }
    return any;
  }
  __attribute__((noinline)) void lower() {
    for (int64_t i = from_; i < next_; i++) {
      uint32_t row = positives_.row[i] - first_row_;
      if (row < rows_) flip_[row] = 1.0f;
    }
  }

  Positives positives_;
  int kind_;
  Norms norms_;
  uint32_t first_row_, rows_;
  int lanes_;
  int64_t next_, from_ = 0;
  alignas(64) float limit_[W];
  alignas(64) float flip_[MAX_VECS * W];
  alignas(64) float max_[MAX_VECS * W];  // of the logits so far, and the sum of this chunk relative to it
  alignas(64) float sum_[MAX_VECS * W];
};

// Per label the sum over the batch, finished GROUP labels at a time: rows [GROUP][W] holds what is not finished.
// The room behind `out` must reach to the next multiple of GROUP.
template <bool ADD>
inline void finish_sums(int held, const float *rows, float *out) {
  F r[GROUP];
#pragma GCC unroll 16
  for (int j = 0; j < GROUP; j++) r[j] = j < held ? load(rows + j * W) : zero();
  if constexpr (ADD) add_group(out, lane_sums(r));
  else store_group(out, lane_sums(r));
}

template <int NV, bool ADD>
inline void sum_label(int64_t l, const F *g, float *rows, float *out) {
  F sum = g[0];
#pragma GCC unroll 8
  for (int v = 1; v < NV; v++) sum = sum + g[v];
  int at = static_cast<int>(l % GROUP);
  store(rows + at * W, sum);
  if (at == GROUP - 1) finish_sums<ADD>(GROUP, rows, out + l - at);
}

inline float *align64(float *p) {
  return reinterpret_cast<float *>((reinterpret_cast<uintptr_t>(p) + 63) & ~static_cast<uintptr_t>(63));
}

}  // namespace
}  // namespace ES_NS
