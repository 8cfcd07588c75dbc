// One slab of the fixed fan-in output step (Ullah et al. 2024): see FanInStepArgs in src/kernels/face.ts.
#include "../output/bf16.h"
#include "../output/step.h"
#include "hidden.h"

namespace ES_NS {
namespace {

// From this many blocks of the batch on, the compact form makes the chunk's index on the fly: it serves them all.
constexpr int64_t INDEX_ON_THE_FLY = 3;

struct FanIn {
  int64_t fan_in;
  const void *columns;
  const uint16_t *index;
  Bf16 bf16;
};

// The workspace: a header, hT, and per worker its private sums and buffers. In floats, multiples of 16.
struct Layout {
  IndexShape shape;
  Blocks blocks;
  bool on_the_fly;
  int64_t norms, hidden, norm, logits, gradients, wide, bias, active, touched, scratch, record, worker;

  static constexpr int64_t HEADER = 16;

  Layout(int64_t batch, int64_t inputs, int64_t labels, int64_t chunk, int64_t fan_in, bool bf16)
      : shape(inputs, labels, fan_in, chunk), blocks(batch) {
    on_the_fly = shape.applies() && blocks.count >= INDEX_ON_THE_FLY;
    norms = Norms::shared_length(blocks);
    hidden = round_up(inputs * blocks.padded(), 16);
    norm = Norms::worker_length(blocks);
    logits = round_up(chunk * MAX_VECS * W, 16);
    gradients = round_up(chunk * fan_in + GROUP, 16);
    wide = bf16 ? round_up(chunk * fan_in + GROUP, 16) : 0;
    bias = round_up(chunk + GROUP, 16);
    active = round_up(chunk, 16);
    touched = round_up((chunk + 3) / 4, 16);
    scratch = on_the_fly ? round_up(index_scratch_words(shape), 16) : 0;
    record = on_the_fly ? round_up((shape.record + 1) / 2, 16) : 0;
    worker = hidden + norm + logits + gradients + wide + bias + active + touched + scratch + record + 16;
  }
  // 16 more, so that the caller's buffer may start anywhere.
  int64_t length(int workers) const { return HEADER + norms + hidden + workers * worker + 16; }
};

struct Worker {
  float *hidden;     // dhT
  float *norm;
  float *logits;     // z, then G: [labels of the chunk][width * W]
  float *gradients;  // [labels of the chunk][fanIn]
  float *wide;       // the weights of the chunk in float32, where they are stored otherwise
  float *bias;       // [labels of the chunk]
  uint32_t *active;  // labels of the chunk with a gradient other than 0 in this block of the batch
  uint8_t *touched;  // [labels of the chunk]: with a gradient in some block
  uint32_t *scratch;
  uint16_t *record;
  Results *results;

  Worker(const Layout &at, float *base) {
    hidden = base;
    norm = hidden + at.hidden;
    logits = norm + at.norm;
    gradients = logits + at.logits;
    wide = gradients + at.gradients;
    bias = wide + at.wide;
    active = reinterpret_cast<uint32_t *>(bias + at.bias);
    touched = reinterpret_cast<uint8_t *>(active + at.active);
    scratch = active + at.active + at.touched;
    record = reinterpret_cast<uint16_t *>(scratch + at.scratch);
    results = reinterpret_cast<Results *>(scratch + at.scratch + at.record);
  }
};

template <class Column>
class Chunk {
 public:
  Chunk(const StepArgs &step, const FanIn &layer, const Layout &layout, const float *hT, const Norms &norms, Worker &worker,
        int64_t from)
      : step_(step), layer_(layer), layout_(layout), hT_(hT), norms_(norms), worker_(worker), from_(from) {
    int64_t to = from + step.chunk;
    labels_ = (to < step.end ? to : step.end) - from;
    columns_ = static_cast<const Column *>(layer.columns) + from * layer.fan_in;
    weights_ = step.weights.from(from * layer.fan_in);
    if (is_short()) weights_.w = worker.wide;
    biases_ = step.bias.from(from);
    skips_ = step.loss == LOSS_SQUARED_HINGE;
    lazy_ = step.update.is_lazy(weights_);
    record_ = layer.index == nullptr ? nullptr : layer.index + from / step.chunk * layout.shape.record;
  }

  bool in_range() const { return all_below(labels_ * layer_.fan_in, columns_, step_.inputs); }

  void run() {
    if (is_short()) widen(labels_ * layer_.fan_in, short_weights(), worker_.wide);
    int64_t positives_at = step_.positives.lower_bound(from_);
    if (skips_ && step_.backward) {
      __builtin_memset(worker_.touched, 0, static_cast<size_t>(labels_));
      if (!lazy_) __builtin_memset(worker_.gradients, 0, static_cast<size_t>(labels_ * layer_.fan_in) * 4);
    }
    each_block(layout_.blocks, [&](auto nv, int64_t block) { run_block<decltype(nv)::value>(block, positives_at); });
    if (!step_.backward || worker_.results->code != ES_OK) return;
    if (layout_.blocks.count == 0) {  // an empty batch: gradients of zero
      __builtin_memset(worker_.gradients, 0, static_cast<size_t>(labels_ * layer_.fan_in) * 4);
      __builtin_memset(worker_.bias, 0, static_cast<size_t>(labels_) * 4);
    }
    finish();
  }

 private:
  bool is_short() const { return layer_.bf16.w != nullptr; }
  const uint16_t *short_weights() const { return layer_.bf16.w + from_ * layer_.fan_in; }

  template <int NV>
  void run_block(int64_t block, int64_t positives_at) {
    int64_t first = layout_.blocks.first_row(block) * step_.inputs;
    LabelLoss loss(step_, layout_.blocks, block, positives_at, norms_);
    if (!step_.backward) return loss_only<NV>(hT_ + first, loss);
    int64_t active = skips_       ? skipping_gradients<NV>(block > 0, hT_ + first, loss)
                     : block == 0 ? gradients<NV, false>(hT_ + first, loss)
                                  : gradients<NV, true>(hT_ + first, loss);
    if (step_.dh != nullptr) hidden<NV>(active, worker_.hidden + first);
  }

  template <int NV>
  void loss_only(const float *hT, LabelLoss &loss) {
    LossSum sum;
    for (int64_t l = 0; l < labels_; l++) {
      F z[NV];
      forward<NV>(l, hT, z);
      loss.gradient<NV>(static_cast<uint32_t>(from_ + l), z, sum);
    }
    worker_.results->loss += loss.finish(sum);
  }

  template <int NV>
  inline void forward(int64_t l, const float *hT, F *z) const {
    int64_t at = l * layer_.fan_in;
    forward_label<NV>(layer_.fan_in, columns_ + at, weights_.w + at, biases_.w[l], hT, z);
  }

  // G, dbias and dw of all labels of the chunk; returns their number.
  template <int NV, bool ADD>
  int64_t gradients(const float *hT, LabelLoss &loss) {
    const int64_t fan_in = layer_.fan_in;
    alignas(64) float bias[GROUP * W];
    LossSum sum;
    F z[NV];
    forward<NV>(0, hT, z);
    for (int64_t l = 0; l < labels_; l++) {
      F g[NV];
      label_gradient<NV, ADD>(l, z, g, bias, loss, sum);
      if (!ADD) prefetch(l);
      float *dw = worker_.gradients + l * fan_in;
      const Column *c = columns_ + l * fan_in;
      if (l + 1 < labels_) {
        weight_gradient<NV, true, ADD>(fan_in, c, g, dw, c + fan_in, weights_.w + (l + 1) * fan_in, biases_.w[l + 1],
                                       hT, z);
      } else {
        weight_gradient<NV, false, ADD, Column>(fan_in, c, g, dw, nullptr, nullptr, 0.0f, hT, z);
      }
    }
    finish_labels<ADD>(bias, loss, sum);
    return labels_;
  }

  // The same for a loss whose gradient is zero for most labels: lists the active ones in worker.active.
  template <int NV>
  int64_t skipping_gradients(bool add, const float *hT, LabelLoss &loss) {
    const int64_t fan_in = layer_.fan_in;
    alignas(64) float bias[GROUP * W];
    LossSum sum;
    int64_t active = 0;
    for (int64_t l = 0; l < labels_; l++) {
      F z[NV], g[NV];
      forward<NV>(l, hT, z);
      if (add) label_gradient<NV, true>(l, z, g, bias, loss, sum);
      else label_gradient<NV, false>(l, z, g, bias, loss, sum);
      if (!add) prefetch(l);
      if (!nonzero<NV>(g)) continue;
      worker_.active[active++] = static_cast<uint32_t>(l);
      float *dw = worker_.gradients + l * fan_in;
      if (!worker_.touched[l]) __builtin_memset(dw, 0, static_cast<size_t>(fan_in) * 4);
      worker_.touched[l] = 1;
      weight_gradient<NV, false, true, Column>(fan_in, columns_ + l * fan_in, g, dw, nullptr, nullptr, 0.0f, hT, z);
    }
    if (add) finish_labels<true>(bias, loss, sum);
    else finish_labels<false>(bias, loss, sum);
    return active;
  }

  // z -> g, kept in worker.logits, and its sum over the rows.
  template <int NV, bool ADD>
  inline void label_gradient(int64_t l, const F *z, F *g, float *bias, LabelLoss &loss, LossSum &sum) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) g[v] = z[v];
    loss.gradient<NV>(static_cast<uint32_t>(from_ + l), g, sum);
    float *out = worker_.logits + l * (NV * W);
#pragma GCC unroll 8
    for (int v = 0; v < NV; v++) store(out + v * W, g[v]);
    sum_label<NV, ADD>(l, g, bias, worker_.bias);
  }

  template <bool ADD>
  void finish_labels(const float *bias, LabelLoss &loss, LossSum &sum) {
    if (labels_ % GROUP != 0) finish_sums<ADD>(labels_ % GROUP, bias, worker_.bias + labels_ / GROUP * GROUP);
    worker_.results->loss += loss.finish(sum);
  }

  // What label l of the next chunk will read: memory is slow, and idle while this chunk computes.
  // NOTE: always_inline, or GCC takes a function that only prefetches for one without effect and drops its calls.
  __attribute__((always_inline)) inline void prefetch(int64_t l) const {
    int64_t ahead = (step_.chunk + l) * layer_.fan_in;
    if (is_short()) {
      for (int64_t k = 0; k < layer_.fan_in; k += 32) __builtin_prefetch(short_weights() + ahead + k, 1, 3);
    } else {
      for (int64_t k = 0; k < layer_.fan_in; k += 16) __builtin_prefetch(weights_.w + ahead + k, 1, 3);
    }
    for (int64_t k = 0; k < layer_.fan_in; k += 64 / static_cast<int64_t>(sizeof(Column))) {
      __builtin_prefetch(columns_ + ahead + k, 0, 3);
    }
    if (record_ == nullptr) return;
    const char *record = reinterpret_cast<const char *>(record_ + layout_.shape.record);
    const int64_t bytes = 2 * layout_.shape.record;
    for (int64_t at = bytes * l / step_.chunk; at < bytes * (l + 1) / step_.chunk; at += 64) {
      __builtin_prefetch(record + at, 0, 3);
    }
  }

  template <int NV>
  static inline bool nonzero(const F *g) {
    F size = abs_of(g[0]);
#pragma GCC unroll 8
    for (int v = 1; v < NV; v++) size = size + abs_of(g[v]);
    return any_nonzero(size);
  }

  template <int NV>
  void hidden(int64_t active, float *dhT) {
    if (record_ == nullptr && layout_.on_the_fly) {
      build_record(layout_.shape, labels_ * layer_.fan_in, columns_, worker_.scratch, worker_.record);
      record_ = worker_.record;
      record_checked_ = true;
    }
    // The index walks all labels: for few active ones the scatter is shorter.
    if (record_ != nullptr && 3 * active > 2 * labels_) {
      if (!record_checked_ && !record_in_range(layout_.shape, labels_ * layer_.fan_in, record_)) {
        worker_.results->code = ES_INDEX_RANGE;
        return;
      }
      record_checked_ = true;
      gather_hidden<NV>(layout_.shape, record_, weights_.w, worker_.logits, dhT);
      return;
    }
    for (int64_t i = 0; i < active; i++) {
      int64_t l = skips_ ? worker_.active[i] : i;
      F g[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; v++) g[v] = load(worker_.logits + (l * NV + v) * W);
      scatter_label<NV>(layer_.fan_in, columns_ + l * layer_.fan_in, weights_.w + l * layer_.fan_in, g, dhT);
    }
  }

  void finish() {
    Results &results = *worker_.results;
    results.bias_squares += apply_update(step_.update, false, labels_, worker_.bias, biases_);
    if (!skips_ || !lazy_) {
      update_labels(0, labels_);
      return;
    }
    for (int64_t l = 0; l < labels_;) {
      int64_t from = l;
      while (l < labels_ && worker_.touched[l]) l++;
      if (from < l) update_labels(from, l);
      else l++;
    }
  }

  void update_labels(int64_t from, int64_t to) {
    int64_t at = from * layer_.fan_in, n = (to - from) * layer_.fan_in;
    worker_.results->weight_squares += apply_update(step_.update, true, n, worker_.gradients + at, weights_.from(at));
    if (is_short() && step_.update.rule != nullptr) {
      store_rounded(layer_.bf16, from_ * layer_.fan_in + at, n, worker_.wide + at);
    }
  }

  const StepArgs &step_;
  const FanIn &layer_;
  const Layout &layout_;
  const float *hT_;
  const Norms norms_;
  Worker &worker_;
  const int64_t from_;
  int64_t labels_;
  const Column *columns_;
  Target weights_, biases_;
  const uint16_t *record_;
  bool skips_, lazy_, record_checked_ = false;
};

template <class Column>
int run_slab(const StepArgs &step, const FanIn &layer, const Layout &layout) {
  const int threads = es_threads();
  float *header = align64(step.workspace);
  float *norms = header + Layout::HEADER, *hT = norms + layout.norms, *workers = hT + layout.hidden;
  const auto norms_of = [&](int task) { return Norms(layout.blocks, norms, Worker(layout, workers + task * layout.worker).norm); };
  Mark mark{threads, W, static_cast<int32_t>(step.batch), static_cast<int32_t>(step.inputs)};
  if (step.begin == 0) {
    mark.write(header);
    transpose_hidden(layout.blocks, step.inputs, step.h, hT);
    if (step.wants_dh()) {
      parallel_tasks(threads, [&](int task, int) {
        __builtin_memset(workers + task * layout.worker, 0, static_cast<size_t>(layout.hidden) * 4);
      });
    }
    begin_norms(step, layout.blocks, threads, norms_of);
  } else if (!mark.matches(header)) {
    return ES_BAD_ARGUMENT;  // not the workspace of the slabs before
  }

  const int64_t chunks = step.chunks();
  const int tasks = chunks < threads ? static_cast<int>(chunks) : threads;
  parallel_tasks(tasks, [&](int task, int) {
    Worker worker(layout, workers + task * layout.worker);
    *worker.results = {0.0, 0.0, 0.0, ES_OK};
    for (int64_t i = chunks * task / tasks; i < chunks * (task + 1) / tasks; i++) {
      Chunk<Column> chunk(step, layer, layout, hT, norms_of(task), worker, step.begin + i * step.chunk);
      if (!chunk.in_range()) {
        worker.results->code = ES_INDEX_RANGE;
        return;
      }
      chunk.run();
      if (worker.results->code != ES_OK) return;
    }
  });
  *step.loss_sum = 0.0;
  for (int task = 0; task < tasks; task++) {
    const Results &results = *Worker(layout, workers + task * layout.worker).results;
    if (results.code != ES_OK) return results.code;
    results.add_to(step);
  }
  if (step.end == step.labels) end_norms(step, threads, norms_of);
  if (step.end == step.labels && step.wants_dh()) {
    reduce_hidden(layout.blocks, step.inputs, step.update.grad_scale, threads, workers, layout.worker, step.dh);
  }
  return ES_OK;
}

bool sizes_fit(int64_t batch, int64_t inputs, int64_t chunk, int64_t fan_in) {
  constexpr int64_t LIMIT = INT32_MAX;
  return batch >= 0 && inputs >= 1 && chunk >= 1 && fan_in >= 1 && batch <= LIMIT && inputs <= LIMIT && chunk <= LIMIT &&
         fan_in <= LIMIT && chunk * fan_in <= LIMIT;
}

}  // namespace

int fan_in_workspace(int64_t batch, int64_t inputs, int64_t labels, int64_t chunk, int64_t fan_in, int32_t bf16,
                     double *length) {
  if (length == nullptr || !sizes_fit(batch, inputs, chunk, fan_in)) return ES_BAD_ARGUMENT;
  *length = static_cast<double>(Layout(batch, inputs, labels, chunk, fan_in, bf16 != 0).length(es_threads()));
  return ES_OK;
}

int fan_in_step ES_FAN_IN_STEP_PARAMETERS {
  StepArgs step = ES_STEP_ARGS;
  FanIn layer{fan_in, columns, index, ES_BF16_ARGS};
  if (!step.in_range() || !sizes_fit(batch, inputs, chunk, fan_in)) return ES_BAD_ARGUMENT;
  if (!step.positives.in_range(labels, batch)) return ES_INDEX_RANGE;
  Layout layout(batch, inputs, labels, chunk, fan_in, short_weights != nullptr);
  if (workspace_length < layout.length(es_threads())) return ES_BAD_ARGUMENT;
  if (index != nullptr && !layout.shape.applies()) return ES_BAD_ARGUMENT;
  if (column_bytes == 2) return run_slab<uint16_t>(step, layer, layout);
  if (column_bytes == 4) return run_slab<uint32_t>(step, layer, layout);
  return ES_BAD_ARGUMENT;
}

}  // namespace ES_NS
