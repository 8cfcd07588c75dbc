// One slab of the output step of labels in groups: see GroupedStepArgs in src/kernels/face.ts.
#include "products.h"
#include "shape.h"

namespace ES_NS {
namespace {

// The workspace: a header, hT, and per worker its private sums and buffers. In floats, multiples of 16.
struct Layout {
  Blocks blocks;
  int64_t hidden, panel, stripe, logits, gradients, packed, bias, active, touched, worker;

  static constexpr int64_t HEADER = 16;

  Layout(int64_t batch, int64_t inputs, int64_t fan_in, int64_t most) : blocks(batch) {
    constexpr int64_t LANES = MAX_VECS * W;
    hidden = round_up(inputs * blocks.padded(), 16);
    panel = round_up(fan_in * LANES, 16);
    stripe = round_up(LANES * LANES + 16, 16);
    logits = round_up(most * LANES, 16);
    gradients = round_up(most * fan_in, 16);
    packed = gradients;
    bias = round_up(most + GROUP, 16);
    active = round_up(most, 16);
    touched = round_up((most + 3) / 4, 16);
    worker = hidden + panel + stripe + logits + gradients + packed + bias + active + touched + 16;
  }
  // 16 more, so that the caller's buffer may start anywhere.
  int64_t length(int workers) const { return HEADER + hidden + workers * worker + 16; }
};

struct Worker {
  float *hidden;     // dhT
  float *panel;      // [fanIn][width * W]
  float *stripe;     // some inputs of the panel, transposed
  float *logits;     // z, then G: [labels of the group][width * W]
  float *gradients;  // [labels of the group][fanIn]
  float *packed;     // the weights of the labels with a gradient
  float *bias;       // [labels of the group]
  uint32_t *active;  // labels of the group with a gradient other than 0 in this block of the batch
  uint8_t *touched;  // [labels of the group]: with a gradient in some block
  Results *results;

  Worker(const Layout &at, float *base) {
    hidden = base;
    panel = hidden + at.hidden;
    stripe = panel + at.panel;
    logits = stripe + at.stripe;
    gradients = logits + at.logits;
    packed = gradients + at.gradients;
    bias = packed + at.packed;
    active = reinterpret_cast<uint32_t *>(bias + at.bias);
    touched = reinterpret_cast<uint8_t *>(active + at.active);
    results = reinterpret_cast<Results *>(active + at.active + at.touched);
  }
};

template <class Column>
class Group {
 public:
  Group(const StepArgs &step, const Groups &layer, const Layout &layout, const float *hT, Worker &worker, int64_t group)
      : step_(step),
        layout_(layout),
        hT_(hT),
        worker_(worker),
        fan_in_(layer.fan_in),
        from_(layer.starts[group]),
        labels_(layer.starts[group + 1] - layer.starts[group]),
        columns_(static_cast<const Column *>(layer.columns) + group * layer.fan_in),
        weights_(step.weights.from(from_ * layer.fan_in)),
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
    each_block(layout_.blocks, [&](auto nv, int64_t block) { run_block<decltype(nv)::value>(block, positives_at); });
    if (step_.backward) finish();
  }

 private:
  template <int NV>
  void run_block(int64_t block, int64_t positives_at) {
    constexpr int64_t LANES = NV * W;
    const int64_t first = layout_.blocks.first_row(block) * step_.inputs;
    gather_inputs<NV>(fan_in_, columns_, hT_ + first, worker_.panel);
    group_logits<NV>(labels_, fan_in_, weights_.w, biases_.w, worker_.panel, worker_.logits);
    LabelLoss loss(step_, layout_.blocks, block, positives_at);
    losses<NV>(loss);
    if (!step_.backward) return;
    const int64_t active = skips_ ? keep_active<NV>() : labels_;
    if (active == 0) return;
    const float *w = weights_.w;
    if (active < labels_) {
      for (int64_t i = 0; i < active; i++) {
        __builtin_memcpy(worker_.packed + i * fan_in_, w + worker_.active[i] * fan_in_, static_cast<size_t>(fan_in_) * 4);
      }
      w = worker_.packed;
    }
    if (step_.dh != nullptr) {
      group_hidden<NV>(active, fan_in_, columns_, w, worker_.logits, worker_.hidden + first);
    }
    if (skips_) {
      const uint32_t *rows = worker_.active;
      group_weights(active, fan_in_, LANES, worker_.panel, worker_.logits, true, [rows](int64_t i) -> int64_t { return rows[i]; },
                    worker_.gradients, worker_.stripe);
    } else {
      group_weights(labels_, fan_in_, LANES, worker_.panel, worker_.logits, block > 0, [](int64_t i) { return i; },
                    worker_.gradients, worker_.stripe);
    }
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
    worker_.results->loss += sum.total();
  }

  // What the group after this one will read: memory is slow, and idle while this one computes.
  // NOTE: always_inline, or GCC takes a function that only prefetches for one without effect and drops its calls.
  __attribute__((always_inline)) inline void prefetch(int64_t l) const {
    const float *ahead = weights_.w + (labels_ + l) * fan_in_;
    for (int64_t k = 0; k < fan_in_; k += 16) __builtin_prefetch(ahead + k, 1, 2);
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
    worker_.results->weight_squares += apply_update(step_.update, true, n, worker_.gradients + at, weights_.from(at));
  }

  const StepArgs &step_;
  const Layout &layout_;
  const float *hT_;
  Worker &worker_;
  const int64_t fan_in_, from_, labels_;
  const Column *columns_;
  const Target weights_, biases_;
  const bool skips_, lazy_;
};

template <class Column>
int run_slab(const StepArgs &step, const Groups &layer, const Layout &layout) {
  const int threads = es_threads();
  float *header = align64(step.workspace);
  float *hT = header + Layout::HEADER, *workers = hT + layout.hidden;
  Mark mark{threads, W, static_cast<int32_t>(step.batch), static_cast<int32_t>(step.inputs)};
  if (step.begin == 0) {
    mark.write(header);
    transpose_hidden(layout.blocks, step.inputs, step.h, hT);
    if (step.wants_dh()) {
      parallel_tasks(threads, [&](int task, int) {
        __builtin_memset(workers + task * layout.worker, 0, static_cast<size_t>(layout.hidden) * 4);
      });
    }
  } else if (!mark.matches(header)) {
    return ES_BAD_ARGUMENT;  // not the workspace of the slabs before
  }

  const int64_t chunks = (step.end - step.begin + step.chunk - 1) / step.chunk;
  const int tasks = chunks < threads ? static_cast<int>(chunks) : threads;
  parallel_tasks(tasks, [&](int task, int) {
    Worker worker(layout, workers + task * layout.worker);
    *worker.results = {0.0, 0.0, 0.0, ES_OK};
    const int64_t from = step.begin + chunks * task / tasks * step.chunk;
    int64_t to = step.begin + chunks * (task + 1) / tasks * step.chunk;
    if (to > step.end) to = step.end;
    if (!layer.in_range<Column>(from, to, step.inputs)) {
      worker.results->code = ES_INDEX_RANGE;
      return;
    }
    for (int64_t g = from; g < to; g++) Group<Column>(step, layer, layout, hT, worker, g).run();
  });
  *step.loss_sum = 0.0;
  for (int task = 0; task < tasks; task++) {
    const Results &results = *Worker(layout, workers + task * layout.worker).results;
    if (results.code != ES_OK) return results.code;
    results.add_to(step);
  }
  if (step.end == layer.groups && step.wants_dh()) {
    reduce_hidden(layout.blocks, step.inputs, step.update.grad_scale, threads, workers, layout.worker, step.dh);
  }
  return ES_OK;
}

}  // namespace

int grouped_workspace(int64_t batch, int64_t inputs, int64_t fan_in, int64_t group_size, double *length) {
  if (length == nullptr || !Groups::sizes_fit(batch, inputs, fan_in, group_size)) return ES_BAD_ARGUMENT;
  *length = static_cast<double>(Layout(batch, inputs, fan_in, group_size).length(es_threads()));
  return ES_OK;
}

int grouped_step ES_GROUPED_STEP_PARAMETERS {
  StepArgs step = ES_STEP_ARGS;
  Groups layer{labels, groups, group_size, fan_in, starts, columns};
  if (!step.sizes_in_range() || !step.slab_in_range(groups) || !layer.sizes_in_range(batch, inputs)) return ES_BAD_ARGUMENT;
  if (!step.positives.in_range(labels, batch)) return ES_INDEX_RANGE;
  Layout layout(batch, inputs, fan_in, group_size);
  if (workspace_length < layout.length(es_threads())) return ES_BAD_ARGUMENT;
  if (column_bytes == 2) return run_slab<uint16_t>(step, layer, layout);
  if (column_bytes == 4) return run_slab<uint32_t>(step, layer, layout);
  return ES_BAD_ARGUMENT;
}

}  // namespace ES_NS
