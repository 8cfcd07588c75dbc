// One slab of the output step of labels in groups: see GroupedStepArgs in src/kernels/face.ts.
#include "../output/bf16.h"
#include "products.h"
#include "shape.h"

namespace ES_NS {
namespace {

// What is multiplied: float32 numbers, those of bfloat16 weights made float32 again; or bfloat16 weights with inputs and
// gradients rounded to bfloat16, sums in float32.
enum class Form { SINGLES, PAIRS };

// The workspace: a header, hT, hT in bfloat16, and per worker its private sums and buffers. In floats, multiples of 16.
struct Layout {
  Blocks blocks;
  int64_t norms, hidden, hidden16, norm, panel, stripe, logits, gradients, wide, packed, pairs, bias, columns, active, touched, worker;

  static constexpr int64_t HEADER = 16;

  Layout(int64_t batch, int64_t inputs, int64_t fan_in, int64_t most, bool bf16) : blocks(batch) {
    constexpr int64_t ROWS = MAX_VECS * W;
    norms = Norms::shared_length(blocks);
    hidden = round_up(inputs * blocks.padded(), 16);
    norm = Norms::worker_length(blocks);
    hidden16 = bf16 ? round_up((hidden + 1) / 2, 16) : 0;
    panel = round_up((fan_in + 1) * ROWS, 16);
    stripe = round_up(ROWS * ROWS + 16, 16);
    logits = round_up(most * ROWS, 16);
    gradients = round_up(most * fan_in, 16);
    wide = bf16 ? gradients : 0;
    packed = gradients;
    // Rows of weights in pairs along the inputs and along the labels, G in pairs along the batch and along the labels.
    pairs = bf16 ? round_up((most + 1) * (fan_in + 1) / 2 + (most + 1) * ROWS + 64, 16) : 0;
    bias = round_up(most + GROUP, 16);
    columns = round_up(fan_in, 16);
    active = round_up(most, 16);
    touched = round_up((most + 3) / 4, 16);
    worker = hidden + norm + panel + stripe + logits + gradients + wide + packed + pairs + bias + columns + active + touched + 16;
  }
  // 16 more, so that the caller's buffer may start anywhere.
  int64_t length(int workers) const { return HEADER + norms + hidden + hidden16 + workers * worker + 16; }
};

struct Worker {
  float *hidden;     // dhT
  float *norm;
  float *panel;      // [fanIn][width * W]
  float *stripe;     // some inputs of the panel, transposed
  float *logits;     // z, then G: [labels of the group][width * W]
  float *gradients;  // [labels of the group][fanIn]
  float *wide;       // the weights of the group in float32
  float *packed;     // the weights of the labels with a gradient
  uint32_t *pairs;
  float *bias;       // [labels of the group]
  uint32_t *columns;  // [fanIn], of the group
  uint32_t *active;  // labels of the group with a gradient other than 0 in this block of the batch
  uint8_t *touched;  // [labels of the group]: with a gradient in some block
  Results *results;

  Worker(const Layout &at, float *base) {
    hidden = base;
    norm = hidden + at.hidden;
    panel = norm + at.norm;
    stripe = panel + at.panel;
    logits = stripe + at.stripe;
    gradients = logits + at.logits;
    wide = gradients + at.gradients;
    packed = wide + at.wide;
    pairs = reinterpret_cast<uint32_t *>(packed + at.packed);
    bias = packed + at.packed + at.pairs;
    columns = reinterpret_cast<uint32_t *>(bias + at.bias);
    active = columns + at.columns;
    touched = reinterpret_cast<uint8_t *>(active + at.active);
    results = reinterpret_cast<Results *>(active + at.active + at.touched);
  }
};

// h of the step: transposed, in float32 and, for pairs, in bfloat16.
struct Hidden {
  const float *rows;
  const uint16_t *rows16;
  float *norms;
};

template <Form FORM>
class Group {
 public:
  Group(const StepArgs &step, const Bf16 &bf16, const Groups &layer, const Layout &layout, const Hidden &hidden,
        Worker &worker, int64_t group)
      : step_(step),
        bf16_(bf16),
        layout_(layout),
        hidden_(hidden),
        worker_(worker),
        fan_in_(layer.fan_in),
        from_(layer.starts[group]),
        labels_(layer.starts[group + 1] - layer.starts[group]),
        columns_(worker.columns),
        short_(bf16.w == nullptr ? nullptr : bf16.w + from_ * layer.fan_in),
        weights_(weights_of(step, bf16, worker, from_ * layer.fan_in)),
        biases_(step.bias.from(from_)),
        skips_(step.loss == LOSS_SQUARED_HINGE),
        lazy_(step.update.is_lazy(weights_)) {}

  void run() {
    if (labels_ == 0) return;
    const int64_t positives_at = step_.positives.lower_bound(from_);
    __builtin_memset(worker_.bias, 0, static_cast<size_t>(layout_.bias) * 4);
    if (skips_ || layout_.blocks.count == 0) {
      __builtin_memset(worker_.gradients, 0, static_cast<size_t>(labels_ * fan_in_) * 4);
      __builtin_memset(worker_.touched, 0, static_cast<size_t>(labels_));
    }
    if (!skips_) {
      for (int64_t l = 0; l < labels_; l++) worker_.active[l] = static_cast<uint32_t>(l);
    }
    if constexpr (FORM == Form::PAIRS) pack_weights();
    else if (short_ != nullptr) widen(labels_ * fan_in_, short_, worker_.wide);
    each_block(layout_.blocks, [&](auto nv, int64_t block) { run_block<decltype(nv)::value>(block, positives_at); });
    if (step_.backward) finish();
  }

 private:
  static Target weights_of(const StepArgs &step, const Bf16 &bf16, Worker &worker, int64_t at) {
    if (bf16.w == nullptr) return step.weights.from(at);
    const Target &all = step.weights;
    return {worker.wide, all.m == nullptr ? nullptr : all.m + at, all.v == nullptr ? nullptr : all.v + at,
            all.gradient == nullptr ? nullptr : all.gradient + at};
  }

  template <int NV>
  void run_block(int64_t block, int64_t positives_at) {
    const int64_t first = layout_.blocks.first_row(block) * step_.inputs;
    logits<NV>(first);
    LabelLoss loss(step_, layout_.blocks, block, positives_at, Norms(layout_.blocks, hidden_.norms, worker_.norm));
    losses<NV>(loss);
    if (!step_.backward) return;
    const int64_t active = skips_ ? keep_active<NV>() : labels_;
    if (active > 0) gradients<NV>(active, first, block > 0);
  }

  template <int NV>
  void logits(int64_t first) {
#if defined(__AVX512F__)
    if constexpr (FORM == Form::PAIRS) {
      const uint16_t *rows = hidden_.rows16 + first;
      uint32_t *panel = reinterpret_cast<uint32_t *>(worker_.panel);
      pair_rows(fan_in_, NV * W, [&](int64_t k) { return rows + static_cast<int64_t>(columns_[k]) * (NV * W); }, panel);
      group_logits<Pairs, NV>(labels_, input_pairs(), weight_pairs(), biases_.w, panel, worker_.logits);
      return;
    }
#endif
    gather_inputs<NV>(fan_in_, columns_, hidden_.rows + first, worker_.panel);
    group_logits<Singles, NV>(labels_, fan_in_, weights_.w, biases_.w, worker_.panel, worker_.logits);
  }

  // dh and dW of the active labels, whose rows of G are the first ones.
  template <int NV>
  void gradients(int64_t active, int64_t first, bool add) {
    const uint32_t *rows = worker_.active;
    add = add || skips_;  // to the zeros that it started with
#if defined(__AVX512F__)
    if constexpr (FORM == Form::PAIRS) {
      uint16_t *G = reinterpret_cast<uint16_t *>(gradient_pairs());
      round_all(active * (NV * W), worker_.logits, G);
      uint32_t *panel = reinterpret_cast<uint32_t *>(worker_.panel), *stripe = reinterpret_cast<uint32_t *>(worker_.stripe);
      const uint16_t *h = hidden_.rows16 + first;
      for (int64_t k = 0; k < fan_in_; k++) {
        __builtin_memcpy(panel + k * (NV * W / 2), h + static_cast<int64_t>(columns_[k]) * (NV * W), NV * W * 2);
      }
      const uint32_t *G32 = gradient_pairs();
      group_weights<Pairs>(active, fan_in_, NV * W / 2, panel, G32, add, rows, worker_.gradients, stripe);
      if (step_.dh == nullptr) return;
      uint32_t *along = reinterpret_cast<uint32_t *>(worker_.packed);
      if (active < labels_ || !along_packed_) {
        const uint16_t *w = short_;
        pair_rows(active, fan_in_, [&](int64_t i) { return w + rows[i] * fan_in_; }, along);
        along_packed_ = active == labels_;
      }
      uint32_t *G_along = gradient_pairs() + active * (NV * W / 2);
      pair_rows(active, NV * W, [&](int64_t i) { return G + i * (NV * W); }, G_along);
      group_hidden<Pairs, NV>((active + 1) / 2, fan_in_, columns_, along, G_along, worker_.hidden + first);
      return;
    }
#endif
    const float *w = weights_.w;
    if (active < labels_) {
      for (int64_t i = 0; i < active; i++) {
        __builtin_memcpy(worker_.packed + i * fan_in_, w + rows[i] * fan_in_, static_cast<size_t>(fan_in_) * 4);
      }
      w = worker_.packed;
    }
    if (step_.dh != nullptr) {
      group_hidden<Singles, NV>(active, fan_in_, columns_, w, worker_.logits, worker_.hidden + first);
    }
    group_weights<Singles>(active, fan_in_, NV * W, worker_.panel, worker_.logits, add, rows, worker_.gradients,
                           worker_.stripe);
  }

  // z -> G, and its sums over the rows.
  template <int NV>
  void losses(LabelLoss &loss) {
    alignas(64) float bias[GROUP * W];
    LossSum sum;
    for (int64_t l = 0; l < labels_; l++) {
      float *row = worker_.logits + l * (NV * W);
      F z[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) z[v] = load(row + v * W);
      loss.gradient<NV>(static_cast<uint32_t>(from_ + l), z, sum);
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) store(row + v * W, z[v]);
      sum_label<NV, true>(l, z, bias, worker_.bias);
      prefetch(l);
    }
    if (labels_ % GROUP != 0) finish_sums<true>(labels_ % GROUP, bias, worker_.bias + labels_ / GROUP * GROUP);
    worker_.results->loss += loss.finish(sum);
  }

  // What the group after this one will read: memory is slow, and idle while this one computes.
  // NOTE: always_inline, or GCC takes a function that only prefetches for one without effect and drops its calls.
  __attribute__((always_inline)) inline void prefetch(int64_t l) const {
    const int64_t bytes = fan_in_ * (short_ == nullptr ? 4 : 2);
    const char *own = short_ == nullptr ? reinterpret_cast<const char *>(weights_.w) : reinterpret_cast<const char *>(short_);
    const char *ahead = own + (labels_ + l) * bytes;
    for (int64_t k = 0; k < bytes; k += 64) __builtin_prefetch(ahead + k, 1, 2);
  }

  // Lists the labels with a gradient and moves their rows of G together: most labels of a squared hinge have none.
  template <int NV>
  int64_t keep_active() {
    int64_t kept = 0;
    for (int64_t l = 0; l < labels_; l++) {
      const float *row = worker_.logits + l * (NV * W);
      F size = abs_of(load(row));
#pragma GCC unroll 8
      for (int v = 1; v < NV; v++) size = size + abs_of(load(row + v * W));
      if (!any_nonzero(size)) continue;
      if (kept < l) __builtin_memcpy(worker_.logits + kept * (NV * W), row, NV * W * sizeof(float));
      worker_.touched[l] = 1;
      worker_.active[kept++] = static_cast<uint32_t>(l);
    }
    return kept;
  }

  void finish() {
    Results &results = *worker_.results;
    results.bias_squares += apply_update(step_.update, false, labels_, worker_.bias, biases_);
    if (!skips_ || !lazy_) return update_labels(0, labels_);
    for (int64_t l = 0; l < labels_;) {
      const int64_t from = l;
      while (l < labels_ && worker_.touched[l]) l++;
      if (from < l) update_labels(from, l);
      else l++;
    }
  }

  void update_labels(int64_t from, int64_t to) {
    const int64_t at = from * fan_in_, n = (to - from) * fan_in_;
    if constexpr (FORM == Form::PAIRS) widen(n, short_ + at, worker_.wide + at);
    worker_.results->weight_squares += apply_update(step_.update, true, n, worker_.gradients + at, weights_.from(at));
    if (short_ != nullptr && step_.update.rule != nullptr) {
      store_rounded(bf16_, from_ * fan_in_ + at, n, worker_.wide + at);
    }
  }

  // Pairs along the inputs: a row of weights as it is, or with a zero behind it where the fan-in is odd.
  int64_t input_pairs() const { return (fan_in_ + 1) / 2; }
  const uint32_t *weight_pairs() const { return worker_.pairs; }
  uint32_t *gradient_pairs() const { return worker_.pairs + round_up(labels_ * input_pairs(), 16); }
  void pack_weights() {
    uint16_t *to = reinterpret_cast<uint16_t *>(worker_.pairs);
    for (int64_t l = 0; l < labels_; l++) {
      uint16_t *row = to + l * 2 * input_pairs();
      __builtin_memcpy(row, short_ + l * fan_in_, static_cast<size_t>(fan_in_) * 2);
      if (fan_in_ % 2 != 0) row[fan_in_] = 0;
    }
  }

  const StepArgs &step_;
  const Bf16 &bf16_;
  const Layout &layout_;
  const Hidden &hidden_;
  Worker &worker_;
  const int64_t fan_in_, from_, labels_;
  const uint32_t *columns_;
  const uint16_t *short_;
  const Target weights_, biases_;
  const bool skips_, lazy_;
  bool along_packed_ = false;
};

template <Form FORM>
int run_slab(const StepArgs &step, const Bf16 &bf16, const Groups &layer, const Layout &layout) {
  const int threads = es_threads();
  float *header = align64(step.workspace);
  float *norms = header + Layout::HEADER, *hT = norms + layout.norms, *workers = hT + layout.hidden + layout.hidden16;
  const auto norms_of = [&](int task) { return Norms(layout.blocks, norms, Worker(layout, workers + task * layout.worker).norm); };
  uint16_t *hT16 = reinterpret_cast<uint16_t *>(hT + layout.hidden);
  Mark mark{threads, W, static_cast<int32_t>(step.batch), static_cast<int32_t>(step.inputs)};
  if (step.begin == 0) {
    mark.write(header);
    transpose_hidden(layout.blocks, step.inputs, step.h, hT);
#if defined(__AVX512F__)
    if constexpr (FORM == Form::PAIRS) round_all(step.inputs * layout.blocks.padded(), hT, hT16);
#endif
    if (step.wants_dh()) {
      parallel_tasks(threads, [&](int task, int) {
        __builtin_memset(workers + task * layout.worker, 0, static_cast<size_t>(layout.hidden) * 4);
      });
    }
    begin_norms(step, layout.blocks, threads, norms_of);
  } else if (!mark.matches(header)) {
    return ES_BAD_ARGUMENT;  // not the workspace of the slabs before
  }

  const Hidden hidden{hT, hT16, norms};
  const int64_t chunks = (step.end - step.begin + step.chunk - 1) / step.chunk;
  const int tasks = chunks < threads ? static_cast<int>(chunks) : threads;
  parallel_tasks(tasks, [&](int task, int) {
    Worker worker(layout, workers + task * layout.worker);
    *worker.results = {0.0, 0.0, 0.0, ES_OK};
    const int64_t from = step.begin + chunks * task / tasks * step.chunk;
    int64_t to = step.begin + chunks * (task + 1) / tasks * step.chunk;
    if (to > step.end) to = step.end;
    if (!layer.in_range(from, to, step.inputs)) {
      worker.results->code = ES_INDEX_RANGE;
      return;
    }
    for (int64_t g = from; g < to; g++) {
      layer.columns_of(g, worker.columns);
      Group<FORM>(step, bf16, layer, layout, hidden, worker, g).run();
    }
  });
  *step.loss_sum = 0.0;
  for (int task = 0; task < tasks; task++) {
    const Results &results = *Worker(layout, workers + task * layout.worker).results;
    if (results.code != ES_OK) return results.code;
    results.add_to(step);
  }
  if (step.end == layer.groups) end_norms(step, threads, norms_of);
  if (step.end == layer.groups && step.wants_dh()) {
    reduce_hidden(layout.blocks, step.inputs, step.update.grad_scale, threads, workers, layout.worker, step.dh);
  }
  return ES_OK;
}

}  // namespace

int grouped_workspace(int64_t batch, int64_t inputs, int64_t fan_in, int64_t group_size, int32_t bf16, double *length) {
  if (length == nullptr || !Groups::sizes_fit(batch, inputs, fan_in, group_size)) return ES_BAD_ARGUMENT;
  *length = static_cast<double>(Layout(batch, inputs, fan_in, group_size, bf16 != 0).length(es_threads()));
  return ES_OK;
}

int grouped_step ES_GROUPED_STEP_PARAMETERS {
  StepArgs step = ES_STEP_ARGS;
  const Bf16 bf16 = ES_BF16_ARGS;
  Groups layer{labels, groups, group_size, fan_in, starts, columns, column_bytes};
  if (!step.sizes_in_range() || !step.slab_in_range(groups) || !layer.sizes_in_range(batch, inputs)) return ES_BAD_ARGUMENT;
  if (!step.positives.in_range(labels, batch)) return ES_INDEX_RANGE;
  Layout layout(batch, inputs, fan_in, group_size, bf16.w != nullptr);
  if (workspace_length < layout.length(es_threads())) return ES_BAD_ARGUMENT;
#if defined(__AVX512F__)
  if (bf16.w != nullptr && pairs != 0 && es_has_bf16()) return run_slab<Form::PAIRS>(step, bf16, layer, layout);
#else
  (void)pairs;
#endif
  return run_slab<Form::SINGLES>(step, bf16, layer, layout);
}

}  // namespace ES_NS
