// One slab of the dense output step: see DenseStepArgs in src/kernels/face.ts.
//   z = W h^T + bias,  dW = G h,  dbias = sum over rows of G,  dh += G^T W, G [labels, batch]
#include "../output/bf16.h"
#include "../output/step.h"
#include "pair_products.h"
#include "products.h"

namespace ES_NS {
namespace {

// The workspace in floats: a header, both packings of h, and per worker its private sums and buffers.
struct Layout {
  Blocks blocks;
  int64_t norms, by_row, by_input, rounded, hidden, norm, logits, gradients, wide, pairs, bias, active, strips, panel, worker;

  static constexpr int64_t HEADER = 16;

  Layout(int64_t batch, int64_t inputs, int64_t chunk, bool bf16) : blocks(batch) {
    norms = Norms::shared_length(blocks);
    by_row = round_up(panels_length(inputs, batch), 16);
    by_input = round_up(panels_length(batch, inputs), 16);
    hidden = round_up(batch * inputs, 16);
    norm = Norms::worker_length(blocks);
    logits = round_up(chunk * blocks.padded(), 16);
    gradients = round_up(chunk * inputs, 16);
    // In bfloat16: h rounded, with a row to pair in; the weights of a chunk in pairs both ways, later in float32; G in
    // pairs both ways.
    rounded = bf16 ? round_up(batch * ((inputs + 1) / 2) + inputs + 16, 16) : 0;
    wide = bf16 ? round_up(chunk * inputs + chunk + inputs + 16, 16) : 0;
    pairs = bf16 ? round_up((chunk + 1) * blocks.padded() + 16, 16) : 0;
    bias = round_up(chunk + GROUP, 16);
    active = round_up(chunk, 16);
    strips = round_up(strips_length(chunk > batch ? chunk : batch, KC), 16);
    panel = round_up(static_cast<int64_t>(KC) * NR, 16);
    worker = hidden + norm + logits + gradients + wide + pairs + bias + active + strips + panel + 16;
  }
  int64_t length(int workers) const { return HEADER + norms + by_row + by_input + rounded + workers * worker + 16; }
};

struct Worker {
  float *hidden;     // the private dh [batch, inputs]
  float *norm;
  float *logits;     // z, then G: [labels of the chunk][padded batch]
  float *gradients;  // [labels of the chunk][inputs]
  float *wide;       // the weights of the chunk in float32, where they are stored otherwise
  float *pairs;      // G in bfloat16
  float *bias;
  uint32_t *active;
  float *strips;
  float *panel;
  Results *results;

  Worker(const Layout &at, float *base) {
    hidden = base;
    norm = hidden + at.hidden;
    logits = norm + at.norm;
    gradients = logits + at.logits;
    wide = gradients + at.gradients;
    pairs = wide + at.wide;
    bias = pairs + at.pairs;
    active = reinterpret_cast<uint32_t *>(bias + at.bias);
    strips = bias + at.bias + at.active;
    panel = strips + at.strips;
    results = reinterpret_cast<Results *>(panel + at.panel);
  }
};

struct Hidden {
  const float *by_row, *by_input;
  float *norms;
};

// PAIRS: products of bfloat16 pairs.
template <bool PAIRS>
class Chunk {
 public:
  Chunk(const StepArgs &step, const Bf16 &bf16, const Layout &layout, const Hidden &hidden, Worker &worker, int64_t from)
      : step_(step), bf16_(bf16), layout_(layout), hidden_(hidden), worker_(worker), from_(from), ldz_(layout.blocks.padded()) {
    int64_t to = from + step.chunk;
    labels_ = (to < step.end ? to : step.end) - from;
    weights_ = step.weights.from(from * step.inputs);
    if (bf16.w != nullptr) weights_.w = worker.wide;
    biases_ = step.bias.from(from);
  }

  void run() {
    const int64_t inputs = step_.inputs, batch = step_.batch;
    if constexpr (PAIRS) {
      logits_of_pairs();
    } else {
      if (bf16_.w != nullptr) widen(labels_ * inputs, bf16_.w + from_ * inputs, worker_.wide);
      logits_product(labels_, inputs, batch, weights_.w, hidden_.by_row, worker_.logits, ldz_, worker_.strips);
    }
    __builtin_memset(worker_.bias, 0, static_cast<size_t>(layout_.bias) * 4);
    int64_t positives_at = step_.positives.lower_bound(from_);
    each_block(layout_.blocks, [&](auto nv, int64_t block) {
      LabelLoss loss(step_, layout_.blocks, block, positives_at, Norms(layout_.blocks, hidden_.norms, worker_.norm));
      losses<decltype(nv)::value>(layout_.blocks.first_row(block), loss);
    });
    if (!step_.backward) return;
    int64_t active = keep_active();
    if constexpr (PAIRS) {
      gradients_of_pairs(active);
      widen(labels_ * inputs, bf16_.w + from_ * inputs, worker_.wide);
      finish(batch > 0 ? active : 0);
      return;
    }
    if (step_.dh != nullptr && active > 0) {
      hidden_product(active, worker_.active, inputs, batch, worker_.logits, ldz_, weights_.w, worker_.hidden,
                     worker_.strips, worker_.panel);
    }
    if (batch > 0) {
      weight_product(active, inputs, batch, worker_.logits, ldz_, hidden_.by_input, worker_.gradients, worker_.strips);
    } else {
      active = 0;
    }
    finish(active);
  }

 private:
#if defined(__AVX512F__)
  void logits_of_pairs() {
    const int64_t inputs = step_.inputs, depth = pairs_of(inputs);
    uint16_t *rows = reinterpret_cast<uint16_t *>(worker_.wide);
    for (int64_t l = 0; l < labels_; l++) {
      uint16_t *row = rows + l * 2 * depth;
      row[2 * depth - 1] = 0;
      __builtin_memcpy(row, bf16_.w + (from_ + l) * inputs, static_cast<size_t>(inputs) * 2);
    }
    logits_product<Pairs>(labels_, depth, step_.batch, worker_.wide, hidden_.by_row, worker_.logits, ldz_, worker_.strips);
  }

  void gradients_of_pairs(int64_t active) {
    const int64_t inputs = step_.inputs, batch = step_.batch, depth = pairs_of(active);
    if (active == 0 || batch == 0) return;
    uint16_t *G = reinterpret_cast<uint16_t *>(worker_.pairs);
    round_all(active * ldz_, worker_.logits, G);
    weight_product<Pairs>(active, inputs, pairs_of(batch), worker_.pairs, ldz_ / 2, hidden_.by_input, worker_.gradients,
                              worker_.strips);
    if (step_.dh == nullptr) return;
    // Pairs along the labels: of G behind the rows of G, of the weights where their rows were.
    uint32_t *G_along = reinterpret_cast<uint32_t *>(worker_.pairs) + active * (ldz_ / 2);
    uint32_t *along = reinterpret_cast<uint32_t *>(worker_.wide);
    const uint16_t *w = bf16_.w + from_ * inputs;
    pair_rows(active, ldz_, [&](int64_t i) { return G + i * ldz_; }, G_along);
    pair_rows(active, inputs, [&](int64_t i) { return w + worker_.active[i] * inputs; }, along);
    hidden_product<Pairs>(depth, nullptr, inputs, batch, reinterpret_cast<const float *>(G_along), ldz_, worker_.wide,
                              worker_.hidden, worker_.strips, worker_.panel);
  }
#else
  void logits_of_pairs() {}
  void gradients_of_pairs(int64_t) {}
#endif

  template <int NV>
  void losses(int64_t first_row, LabelLoss &loss) {
    alignas(64) float bias[GROUP * W];
    LossSum sum;
    for (int64_t l = 0; l < labels_; l++) {
      float *row = worker_.logits + l * ldz_ + first_row;
      F own = set(biases_.w[l]), z[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) z[v] = load(row + v * W) + own;
      loss.gradient<NV>(static_cast<uint32_t>(from_ + l), z, sum);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) store(row + v * W, z[v]);
      sum_label<NV, true>(l, z, bias, worker_.bias);
    }
    if (labels_ % GROUP != 0) finish_sums<true>(labels_ % GROUP, bias, worker_.bias + labels_ / GROUP * GROUP);
    worker_.results->loss += loss.finish(sum);
  }

  // Lists the labels with a gradient and moves their rows of G together: most labels of a squared hinge have none.
  int64_t keep_active() {
    int64_t kept = 0;
    for (int64_t l = 0; l < labels_; l++) {
      float *row = worker_.logits + l * ldz_;
      if (step_.loss == LOSS_SQUARED_HINGE) {
        F size = zero();
        for (int64_t b = 0; b < ldz_; b += W) size = size + abs_of(load(row + b));
        if (!any_nonzero(size)) continue;
        if (kept < l) __builtin_memcpy(worker_.logits + kept * ldz_, row, static_cast<size_t>(ldz_) * 4);
      }
      worker_.active[kept++] = static_cast<uint32_t>(l);
    }
    return kept;
  }

  // Rows of the gradient belong to the active labels; the others have a gradient of zero.
  void finish(int64_t active) {
    const int64_t inputs = step_.inputs;
    Results &results = *worker_.results;
    if (active == labels_) {
      results.weight_squares += apply_update(step_.update, true, labels_ * inputs, worker_.gradients, weights_);
    } else {
      const bool lazy = step_.update.is_lazy(weights_);
      float *none = worker_.strips;
      __builtin_memset(none, 0, static_cast<size_t>(round_up(inputs < ZEROS ? inputs : ZEROS, 16)) * 4);
      int64_t next = 0;
      for (int64_t l = 0; l < labels_; l++) {
        if (next < active && worker_.active[next] == l) {
          results.weight_squares +=
              apply_update(step_.update, true, inputs, worker_.gradients + next++ * inputs, weights_.from(l * inputs));
          continue;
        }
        if (lazy) continue;
        for (int64_t j = 0; j < inputs; j += ZEROS) {
          apply_update(step_.update, true, inputs - j < ZEROS ? inputs - j : ZEROS, none, weights_.from(l * inputs + j));
        }
      }
    }
    results.bias_squares += apply_update(step_.update, false, labels_, worker_.bias, biases_);
    // Weights that did not change are what bfloat16 can hold, and no draw moves them.
    if (bf16_.w != nullptr && step_.update.rule != nullptr) {
      store_rounded(bf16_, from_ * inputs, labels_ * inputs, worker_.wide);
    }
  }

  static constexpr int64_t ZEROS = static_cast<int64_t>(MR) * KC;  // what strips holds at least

  const StepArgs &step_;
  const Bf16 &bf16_;
  const Layout &layout_;
  const Hidden &hidden_;
  Worker &worker_;
  const int64_t from_, ldz_;
  int64_t labels_;
  Target weights_, biases_;
};

// Both packings of h in pairs.
inline void pack_pairs(const StepArgs &step, float *rounded, float *by_row, float *by_input) {
#if defined(__AVX512F__)
  uint16_t *rows = reinterpret_cast<uint16_t *>(rounded);
  const int64_t depth = pairs_of(step.inputs);
  round_hidden(step.batch, step.inputs, step.h, rows);
  pack_hidden_by_row(step.batch, depth, rounded, by_row);
  uint32_t *row = reinterpret_cast<uint32_t *>(rounded) + step.batch * depth;
  if (step.backward) pack_pairs_by_input(step.batch, step.inputs, rows, row, by_input);
#else
  (void)step, (void)rounded, (void)by_row, (void)by_input;
#endif
}

template <bool PAIRS>
int run_slab(const StepArgs &step, const Bf16 &bf16, const Layout &layout) {
  const int threads = es_threads();
  float *header = align64(step.workspace);
  float *norms = header + Layout::HEADER, *by_row = norms + layout.norms, *by_input = by_row + layout.by_row;
  const Hidden hidden{by_row, by_input, norms};
  float *rounded = by_input + layout.by_input;
  float *workers = rounded + layout.rounded;
  const auto norms_of = [&](int task) { return Norms(layout.blocks, norms, Worker(layout, workers + task * layout.worker).norm); };
  Mark mark{threads, W, static_cast<int32_t>(step.batch), static_cast<int32_t>(step.inputs)};
  if (step.begin == 0) {
    mark.write(header);
    if constexpr (PAIRS) {
      pack_pairs(step, rounded, by_row, by_input);
    } else {
      pack_hidden_by_row(step.batch, step.inputs, step.h, by_row);
      if (step.backward) pack_hidden_by_input(step.batch, step.inputs, step.h, by_input);
    }
    parallel_tasks(threads, [&](int task, int) {
      Worker worker(layout, workers + task * layout.worker);
      if (step.wants_dh()) __builtin_memset(worker.hidden, 0, static_cast<size_t>(layout.hidden) * 4);
      // The lanes beyond the batch are never stored by a product, but read by the loss.
      __builtin_memset(worker.logits, 0, static_cast<size_t>(layout.logits) * 4);
    });
    begin_norms(step, layout.blocks, threads, norms_of);
  } else if (!mark.matches(header)) {
    return ES_BAD_ARGUMENT;
  }

  const int64_t chunks = step.chunks();
  const int tasks = chunks < threads ? static_cast<int>(chunks) : threads;
  parallel_tasks(tasks, [&](int task, int) {
    Worker worker(layout, workers + task * layout.worker);
    *worker.results = {0.0, 0.0, 0.0, ES_OK};
    for (int64_t i = chunks * task / tasks; i < chunks * (task + 1) / tasks; i++) {
      Chunk<PAIRS>(step, bf16, layout, hidden, worker, step.begin + i * step.chunk).run();
    }
  });
  *step.loss_sum = 0.0;
  for (int task = 0; task < tasks; task++) {
    Worker(layout, workers + task * layout.worker).results->add_to(step);
  }
  if (step.end == step.labels) end_norms(step, threads, norms_of);
  if (step.end == step.labels && step.wants_dh()) {
    const float factor = static_cast<float>(step.update.grad_scale);
    parallel_ranges(step.batch * step.inputs, 4096, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) {
        float sum = 0.0f;
        for (int t = 0; t < threads; t++) sum += workers[t * layout.worker + i];
        step.dh[i] = factor * sum;
      }
    });
  }
  return ES_OK;
}

bool sizes_fit(int64_t batch, int64_t inputs, int64_t chunk) {
  constexpr int64_t LIMIT = INT32_MAX;
  return batch >= 0 && inputs >= 1 && chunk >= 1 && batch <= LIMIT && inputs <= LIMIT && chunk <= LIMIT &&
         chunk * inputs <= LIMIT;
}

}  // namespace

int dense_workspace(int64_t batch, int64_t inputs, int64_t labels, int64_t chunk, int32_t bf16, double *length) {
  if (length == nullptr || labels < 0 || !sizes_fit(batch, inputs, chunk)) return ES_BAD_ARGUMENT;
  *length = static_cast<double>(Layout(batch, inputs, chunk, bf16 != 0).length(es_threads()));
  return ES_OK;
}

int dense_step ES_DENSE_STEP_PARAMETERS {
  StepArgs step = ES_STEP_ARGS;
  const Bf16 bf16 = ES_BF16_ARGS;
  if (!step.in_range() || !sizes_fit(batch, inputs, chunk)) return ES_BAD_ARGUMENT;
  if (!step.positives.in_range(labels, batch)) return ES_INDEX_RANGE;
  Layout layout(batch, inputs, chunk, bf16.w != nullptr);
  if (workspace_length < layout.length(es_threads())) return ES_BAD_ARGUMENT;
#if defined(__AVX512F__)
  if (bf16.w != nullptr && pairs != 0 && es_has_bf16()) return run_slab<true>(step, bf16, layout);
#else
  (void)pairs;
#endif
  return run_slab<false>(step, bf16, layout);
}

}  // namespace ES_NS
