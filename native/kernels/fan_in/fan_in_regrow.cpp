// RigL (Evci et al. 2020) on the fixed fan-in layer and on groups: prunes by magnitude, grows where the dense gradient is
// largest, of a group where the sum of its labels' magnitudes is. The dense gradient dW = G^T h, [labels, inputs], exists
// for one tile of labels per worker and is used at once.
#include "../dense_output/pair_products.h"
#include "../dense_output/products.h"
#include "../output/bf16.h"
#include "../output/step.h"
#include "../random/philox.h"
#include "block.h"
#include "index.h"
#include "select.h"

namespace ES_NS {
namespace {

// Labels per tile: their gradients stay in the second cache.
inline int64_t tile_labels(int64_t inputs) {
  int64_t fit = 49152 / inputs / 16 * 16;
  return fit < 16 ? 16 : fit > 64 ? 64 : fit;
}

// Positive pairs of a wider sample, sorted by label: gradient += weight * (what the loss says at z of h[row]) * h[row].
struct Evidence {
  int64_t count, rows;
  const uint32_t *label, *row;
  const float *weight, *h;
  const float *norm;  // [2][rows]: log Z, and the share of one positive; softmax only

  bool in_range(int64_t begin, int64_t end) const {
    bool good = true;
    for (int64_t i = 0; i < count; i++) {
      good &= label[i] >= begin && label[i] < end && row[i] < rows && (i == 0 || label[i - 1] <= label[i]);
    }
    return good;
  }
};

// What goes: the per_row smallest of every row, or (per_row < 0) all below threshold and the first `ties` equal to it.
struct Prune {
  int64_t per_row;
  float threshold;
  int64_t ties;
};

// A unit is what owns a row of columns: a label, or a group of labels, whose gradients count by their absolute sums.
struct Regrow {
  StepArgs step;  // begin and end count units
  int64_t units, fan_in;
  const uint32_t *starts;  // [units + 1], or null: unit u is label u
  void *columns;
  uint16_t *short_weights;  // in bfloat16 instead of step.weights, or null
  const float *scores;      // [units][fan_in], or null: weights
  Evidence evidence;
  Prune prune;
  uint32_t key0, key1;
  uint64_t counter;
  bool pairs;
  double *counts;

  int64_t first_label(int64_t unit) const { return starts == nullptr ? unit : starts[unit]; }
  bool starts_in_range() const {
    bool good = true;
    for (int64_t u = step.begin; u < step.end && starts != nullptr; u++) good &= starts[u] <= starts[u + 1];
    return good && first_label(step.end) <= step.labels;
  }
};

struct Layout {
  Blocks blocks;
  int64_t tile, norms, hidden, by_input, logits, dense, sums, sizes, strips, lists, candidates, marks, worker;

  static constexpr int64_t HEADER = 16;

  Layout(int64_t batch, int64_t inputs, int64_t fan_in) : blocks(batch), tile(tile_labels(inputs)) {
    norms = Norms::shared_length(blocks);
    hidden = round_up(inputs * blocks.padded(), 16);
    by_input = round_up(panels_length(batch, inputs), 16);
    logits = round_up(tile * blocks.padded(), 16);
    dense = round_up(tile * inputs + W, 16);
    sums = round_up(inputs + W, 16);
    sizes = round_up(fan_in + W, 16);
    strips = round_up(strips_length(tile, KC), 16);
    lists = round_up(fan_in + W, 16);
    candidates = round_up(inputs + W, 16);
    marks = round_up((inputs + 3) / 4, 16);
    worker = logits + dense + sums + sizes + strips + lists + 2 * candidates + marks + 16;
  }
  int64_t length(int workers) const { return HEADER + norms + hidden + by_input + workers * worker + 16; }
};

struct Worker {
  float *logits;    // G: [labels of the tile][padded batch]
  float *dense;     // [labels of the tile][inputs]
  float *sums;      // [inputs]: of |gradient| over the labels of a group
  float *sizes;     // [fan_in]: a row of weights that are stored in bfloat16
  float *strips;
  uint32_t *doomed;  // slots of a row that go
  uint32_t *grown;   // columns that come, ascending; room for all candidates
  float *keys;       // of candidates
  uint8_t *used;     // [inputs], all 0 between rows
  double *counts;    // replaced, ties used, code

  Worker(const Layout &at, float *base) {
    logits = base;
    dense = logits + at.logits;
    sums = dense + at.dense;
    sizes = sums + at.sums;
    strips = sizes + at.sizes;
    doomed = reinterpret_cast<uint32_t *>(strips + at.strips);
    grown = doomed + at.lists;
    keys = strips + at.strips + at.lists + at.candidates;
    used = reinterpret_cast<uint8_t *>(keys + at.candidates);
    counts = reinterpret_cast<double *>(keys + at.candidates + at.marks);
  }
};

// What decides which slots of a row go: scores, or the magnitudes of weights.
inline const float *sizes_of(const Regrow &args, int64_t unit, const Worker &worker) {
  const int64_t at = unit * args.fan_in;
  if (args.scores != nullptr) return args.scores + at;
  if (args.short_weights == nullptr) return args.step.weights.w + at;
  widen(args.fan_in, args.short_weights + at, worker.sizes);
  return worker.sizes;
}

// h as every worker reads it.
struct Hidden {
  const float *hT, *by_input;
  float *norms;
};

#if defined(__AVX512F__)
// h [batch, inputs], rounded, in pairs along the batch as panels.
inline void pack_pairs_of_rows(int64_t batch, int64_t inputs, const float *h, float *panels) {
  const int64_t depth = pairs_of(batch);
  parallel_ranges((inputs + NR - 1) / NR, 4, [&](int64_t from, int64_t to) {
    for (int64_t p = from; p < to; p++) {
      const int cols = cut(inputs - p * NR, NR);
      for (int64_t k = 0; k < depth; k++) {
        uint16_t low[NR], high[NR];
        const float *row = h + 2 * k * inputs + p * NR;
        const bool two = 2 * k + 1 < batch;
        round_all(cols, row, low);
        if (two) round_all(cols, row + inputs, high);
        interleave(cols, low, two ? high : nullptr, reinterpret_cast<uint32_t *>(panels + (p * depth + k) * NR));
      }
    }
  });
}
#endif

template <class Column>
class Rows {
 public:
  Rows(const Regrow &args, const Layout &layout, const Hidden &hidden, Worker &worker, int64_t ties)
      : args_(args), step_(args.step), layout_(layout), hidden_(hidden), worker_(worker), ties_(ties) {}

  // Labels [from, to), one tile.
  void run_labels(int64_t from, int64_t to) {
    const int64_t inputs = step_.inputs, fan_in = args_.fan_in;
    Column *columns = columns_of(from, to);
    if (columns == nullptr) return;
    gradients(from, to, columns, fan_in);
    for (int64_t l = 0; l < to - from; l++) {
      replace(from + l, from + l, from + l + 1, columns + l * fan_in, worker_.dense + l * inputs);
    }
  }

  // One group: what its labels say is added up, tile by tile.
  void run_group(int64_t group) {
    const int64_t inputs = step_.inputs, from = args_.starts[group], to = args_.starts[group + 1];
    Column *columns = columns_of(group, group + 1);
    if (columns == nullptr) return;
    __builtin_memset(worker_.sums, 0, static_cast<size_t>(layout_.sums) * 4);
    for (int64_t first = from; first < to; first += layout_.tile) {
      const int64_t end = first + layout_.tile < to ? first + layout_.tile : to;
      gradients(first, end, columns, 0);
      for (int64_t l = 0; l < end - first; l++) add_sizes(worker_.dense + l * inputs);
    }
    replace(group, from, to, columns, worker_.sums);
  }

 private:
  Column *columns_of(int64_t from, int64_t to) {
    Column *columns = static_cast<Column *>(args_.columns) + from * args_.fan_in;
    if (all_below((to - from) * args_.fan_in, columns, step_.inputs)) return columns;
    worker_.counts[2] = ES_INDEX_RANGE;
    return nullptr;
  }

  void add_sizes(const float *row) {
    float *sums = worker_.sums;
    int64_t j = 0;
    for (; j + W <= step_.inputs; j += W) store(sums + j, load(sums + j) + abs_of(load(row + j)));
    const int rest = static_cast<int>(step_.inputs - j);
    if (rest > 0) store_n(sums + j, load_n(sums + j, rest) + abs_of(load_n(row + j, rest)), rest);
  }

  // Label l reads columns + (l - from) * stride.
  void gradients(int64_t from, int64_t to, const Column *columns, int64_t stride) {
    const int64_t inputs = step_.inputs, fan_in = args_.fan_in, ldz = layout_.blocks.padded();
    if (step_.batch == 0) {
      __builtin_memset(worker_.dense, 0, static_cast<size_t>((to - from) * inputs) * 4);
    } else {
      int64_t positives_at = step_.positives.lower_bound(from);
      const Norms norms = Norms(layout_.blocks, hidden_.norms, hidden_.norms);
      each_block(layout_.blocks, [&](auto nv, int64_t block) {
        constexpr int NV = decltype(nv)::value;
        LabelLoss loss(step_, layout_.blocks, block, positives_at, norms);
        LossSum sum;
        const int64_t first = layout_.blocks.first_row(block);
        const float *hT = hidden_.hT + first * inputs;
        for (int64_t l = from; l < to; l++) {
          const Column *c = columns + (l - from) * stride;
          F z[NV];
          if (args_.short_weights != nullptr) {
            forward_label<NV>(fan_in, c, args_.short_weights + l * fan_in, step_.bias.w[l], hT, z);
          } else {
            forward_label<NV>(fan_in, c, step_.weights.w + l * fan_in, step_.bias.w[l], hT, z);
          }
          loss.gradient<NV>(static_cast<uint32_t>(l), z, sum);
          for (int v = 0; v < NV; v++) store(worker_.logits + (l - from) * ldz + first + v * W, z[v]);
        }
      });
      if (args_.evidence.label != nullptr) drop_positives(from, to, positives_at);
      product(to - from);
    }
    if (args_.evidence.label != nullptr) add_evidence(from, to, columns, stride);
  }

  void product(int64_t labels) {
    const int64_t inputs = step_.inputs, batch = step_.batch, ldz = layout_.blocks.padded();
#if defined(__AVX512F__)
    if (args_.pairs) {
      // In place: what is written lies behind what is still to be read.
      round_all(labels * ldz, worker_.logits, reinterpret_cast<uint16_t *>(worker_.logits));
      weight_product<PairTiles>(labels, inputs, pairs_of(batch), worker_.logits, ldz / 2, hidden_.by_input, worker_.dense,
                                worker_.strips);
      return;
    }
#endif
    weight_product(labels, inputs, batch, worker_.logits, ldz, hidden_.by_input, worker_.dense, worker_.strips);
  }

  // The evidence speaks for the positives: the batch stands for the negatives alone.
  void drop_positives(int64_t from, int64_t to, int64_t at) {
    const Positives &p = step_.positives;
    for (; at < p.count && p.label[at] < to; at++) {
      worker_.logits[(p.label[at] - from) * layout_.blocks.padded() + p.row[at]] = 0.0f;
    }
  }

  void add_evidence(int64_t from, int64_t to, const Column *columns, int64_t stride) {
    const int64_t inputs = step_.inputs;
    const Evidence &e = args_.evidence;
    for (int64_t i = Positives{e.count, e.label, e.row}.lower_bound(from); i < e.count && e.label[i] < to; i++) {
      const int64_t l = e.label[i] - from;
      const float *h = e.h + e.row[i] * inputs;
      const double z = logit(e.label[i], columns + l * stride, h);
      F g = set(e.weight[i]) * slope(z, e.row[i]);
      float *row = worker_.dense + l * inputs;
      int64_t j = 0;
      for (; j + W <= inputs; j += W) store(row + j, fma(g, load(h + j), load(row + j)));
      int rest = static_cast<int>(inputs - j);
      if (rest > 0) store_n(row + j, fma(g, load_n(h + j, rest), load_n(row + j, rest)), rest);
    }
  }

  double logit(int64_t label, const Column *columns, const float *h) const {
    const int64_t fan_in = args_.fan_in, at = label * fan_in;
    double z = step_.bias.w[label];
    for (int64_t k = 0; k < fan_in; k++) {
      const float w = args_.short_weights != nullptr ? number(args_.short_weights[at + k]) : step_.weights.w[at + k];
      z += static_cast<double>(w) * h[columns[k]];
    }
    return z;
  }

  // dloss/dz at a positive, of evidence row `row`.
  F slope(double logit, uint32_t row) const {
    const float z = static_cast<float>(logit);
    if (step_.loss == LOSS_SQUARED_HINGE) return set(-2.0f) * max_of(zero(), set(1.0f - z));
    if (step_.loss == LOSS_SOFTMAX) {
      const float *norm = args_.evidence.norm;
      return exp_minus(set(static_cast<float>(norm[row] - logit))) - set(norm[args_.evidence.rows + row]);
    }
    F e = exp_minus(set(__builtin_fabsf(z)));
    return zero() - (z > 0.0f ? e : set(1.0f)) / (set(1.0f) + e);
  }

  // The row of a unit whose labels are [from, to).
  void replace(int64_t unit, int64_t from, int64_t to, Column *columns, float *gradient) {
    const int64_t fan_in = args_.fan_in;
    const int64_t going = choose(sizes_of(args_, unit, worker_));
    if (going == 0) return;
    uint32_t *doomed = worker_.doomed, *grown = worker_.grown;
    // What stays is no candidate: all columns of the row to 0, then back what those that go had.
    for (int64_t i = 0; i < going; i++) worker_.keys[i] = gradient[columns[doomed[i]]];
    for (int64_t k = 0; k < fan_in; k++) gradient[columns[k]] = 0.0f;
    for (int64_t i = 0; i < going; i++) gradient[columns[doomed[i]]] = worker_.keys[i];
    const int64_t coming =
        select_largest<LargestMagnitudes>(gradient, step_.inputs, going, __FLT_DENORM_MIN__, worker_.keys, grown);
    if (coming < going) fill(unit, columns, going, coming);

    // A column that went and comes back stays in its slot, weight and all.
    uint8_t *used = worker_.used;
    for (int64_t i = 0; i < going; i++) used[grown[i]] = 1;
    int64_t left = 0;
    for (int64_t i = 0; i < going; i++) {
      const uint32_t column = columns[doomed[i]];
      if (used[column]) used[column] = 0;
      else doomed[left++] = doomed[i];
    }
    for (int64_t i = 0, next = 0; i < going; i++) {
      if (!used[grown[i]]) continue;
      used[grown[i]] = 0;
      const int64_t slot = doomed[next++];
      columns[slot] = static_cast<Column>(grown[i]);
      for (int64_t at = from * fan_in + slot; at < to * fan_in; at += fan_in) {
        if (args_.short_weights != nullptr) args_.short_weights[at] = 0;
        else step_.weights.w[at] = 0.0f;
        if (step_.weights.m != nullptr) step_.weights.m[at] = 0.0f;
        if (step_.weights.v != nullptr) step_.weights.v[at] = 0.0f;
      }
    }
    worker_.counts[0] += static_cast<double>(left * (to - from));
  }

  // Slots of a row that go, ascending, into worker.doomed.
  int64_t choose(const float *w) {
    uint32_t *doomed = worker_.doomed;
    if (args_.prune.per_row < 0) {
      int64_t count = 0;
      for (int64_t k = 0; k < args_.fan_in; k++) {
        const float size = __builtin_fabsf(w[k]);
        if (size == args_.prune.threshold ? ties_-- > 0 : size < args_.prune.threshold) {
          doomed[count++] = static_cast<uint32_t>(k);
        }
      }
      return count;
    }
    if (args_.prune.per_row == 0) return 0;
    return select_largest<SmallestMagnitudes>(w, args_.fan_in, args_.prune.per_row, -__builtin_inff(), worker_.keys, doomed);
  }

  // Where too few gradients differ from 0, the rest grows at random: draw `slot of the layer` of the stream decides.
  __attribute__((noinline)) void fill(int64_t unit, const Column *columns, int64_t going, int64_t coming) {
    const int64_t fan_in = args_.fan_in;
    uint8_t *used = worker_.used;
    const uint32_t *doomed = worker_.doomed;
    uint32_t *grown = worker_.grown;
    for (int64_t k = 0, next = 0; k < fan_in; k++) {
      if (next < going && doomed[next] == k) next++;
      else used[columns[k]] = 1;
    }
    for (int64_t i = 0; i < coming; i++) used[grown[i]] = 1;
    for (int64_t i = coming; i < going; i++) {
      const uint64_t at = static_cast<uint64_t>(unit * fan_in + i);
      uint32_t bits[WORDS];
      philox(args_.key0, args_.key1, args_.counter + (at >> 2), bits);
      const int64_t free = step_.inputs - (fan_in - going) - i;
      int64_t skip = static_cast<int64_t>((bits[at & 3] >> 8) * 0x1p-24 * static_cast<double>(free));
      int64_t column = 0;
      while (used[column] || skip-- > 0) column++;
      used[column] = 1;
      grown[i] = static_cast<uint32_t>(column);
    }
    for (int64_t k = 0, next = 0; k < fan_in; k++) {
      if (next < going && doomed[next] == k) next++;
      else used[columns[k]] = 0;
    }
    for (int64_t i = 0; i < going; i++) used[grown[i]] = 0;
  }

  const Regrow &args_;
  const StepArgs &step_;
  const Layout &layout_;
  const Hidden &hidden_;
  Worker &worker_;
  int64_t ties_;
};

int64_t count_ties(const Regrow &args, int64_t from, int64_t to, const Worker &worker) {
  const F threshold = set(args.prune.threshold);
  int64_t count = 0;
  for (int64_t unit = from; unit < to; unit++) {
    const float *sizes = sizes_of(args, unit, worker);
    for (int64_t k = 0; k < args.fan_in; k += W) {
      const int64_t rest = args.fan_in - k;
      const F size = abs_of(rest < W ? load_n(sizes + k, static_cast<int>(rest)) : load(sizes + k));
      // Not below and not above, lane by lane.
      const uint32_t equal = ~(not_below(size, threshold) | not_below(threshold, size));
      count += __builtin_popcount(equal & ((1u << (rest < W ? rest : W)) - 1u));
    }
  }
  return count;
}

template <class Column>
int run(const Regrow &args, const Layout &layout) {
  const StepArgs &step = args.step;
  const int threads = es_threads();
  float *norms = align64(step.workspace) + Layout::HEADER, *hT = norms + layout.norms, *by_input = hT + layout.hidden;
  float *workers = by_input + layout.by_input;
  const Hidden hidden{hT, by_input, norms};
  transpose_hidden(layout.blocks, step.inputs, step.h, hT);
  if (step.loss == LOSS_SOFTMAX) Norms(layout.blocks, norms, norms).read(layout.blocks, step.norm);
#if defined(__AVX512F__)
  if (args.pairs) pack_pairs_of_rows(step.batch, step.inputs, step.h, by_input);
  else
#endif
    pack_hidden_by_input(step.batch, step.inputs, step.h, by_input);
  const int64_t stride = args.starts == nullptr ? layout.tile : 1;
  const int64_t tiles = (step.end - step.begin + stride - 1) / stride;
  const int tasks = tiles < threads ? static_cast<int>(tiles) : threads;
  const auto first_of = [&](int task) {
    int64_t first = step.begin + tiles * task / tasks * stride;
    return first < step.end ? first : step.end;
  };
  // Ties go in the order of slots whoever works: each task must know how many lie before it.
  const bool ties = args.prune.per_row < 0 && args.prune.ties > 0;
  parallel_tasks(tasks, [&](int task, int) {
    Worker worker(layout, workers + task * layout.worker);
    worker.counts[0] = worker.counts[2] = 0.0;
    worker.counts[1] = ties ? static_cast<double>(count_ties(args, first_of(task), first_of(task + 1), worker)) : 0.0;
    __builtin_memset(worker.used, 0, static_cast<size_t>(step.inputs));
    // The lanes beyond the batch are read by the product, never written.
    __builtin_memset(worker.logits, 0, static_cast<size_t>(layout.logits) * 4);
  });
  parallel_tasks(tasks, [&](int task, int) {
    int64_t before = 0;
    for (int t = 0; t < task; t++) before += static_cast<int64_t>(Worker(layout, workers + t * layout.worker).counts[1]);
    Worker worker(layout, workers + task * layout.worker);
    Rows<Column> rows(args, layout, hidden, worker, ties ? args.prune.ties - before : 0);
    const int64_t end = first_of(task + 1);
    for (int64_t from = first_of(task); from < end && worker.counts[2] == 0.0; from += stride) {
      if (args.starts != nullptr) rows.run_group(from);
      else rows.run_labels(from, from + stride < end ? from + stride : end);
    }
  });
  args.counts[0] = args.counts[1] = 0.0;
  int code = ES_OK;
  for (int task = 0; task < tasks; task++) {
    const double *counts = Worker(layout, workers + task * layout.worker).counts;
    args.counts[0] += counts[0];
    args.counts[1] += counts[1];
    if (counts[2] != 0.0) code = static_cast<int>(counts[2]);
  }
  return code;
}

bool sizes_fit(int64_t batch, int64_t inputs, int64_t labels, int64_t fan_in) {
  constexpr int64_t LIMIT = INT32_MAX;
  return batch >= 0 && inputs >= 1 && fan_in >= 1 && fan_in <= inputs && batch <= LIMIT && inputs <= LIMIT && labels >= 0 &&
         labels <= static_cast<int64_t>(UINT32_MAX);
}

}  // namespace

int fan_in_regrow_workspace(int64_t batch, int64_t inputs, int64_t fan_in, double *length) {
  if (length == nullptr || !sizes_fit(batch, inputs, 0, fan_in)) return ES_BAD_ARGUMENT;
  *length = static_cast<double>(Layout(batch, inputs, fan_in).length(es_threads()));
  return ES_OK;
}

int fan_in_regrow(int64_t batch, int64_t inputs, int64_t labels, int64_t groups, int64_t begin, int64_t end,
                  int64_t fan_in, const float *h, int64_t positive_count, const uint32_t *positive_label,
                  const uint32_t *positive_row, int32_t loss, float *norm, const uint32_t *starts, void *columns,
                  int32_t column_bytes, float *weights, uint16_t *short_weights, float *weight_m, float *weight_v,
                  float *bias, const float *scores, int64_t evidence_count, int64_t evidence_rows,
                  const uint32_t *evidence_label, const uint32_t *evidence_row, const float *evidence_weight,
                  const float *evidence_h, const float *evidence_norm, int64_t per_row, double threshold, int64_t ties,
                  int64_t key0, int64_t key1, int64_t counter, int32_t pairs, float *workspace, int64_t workspace_length,
                  double *counts) {
  const int64_t units = starts == nullptr ? labels : groups;
  if (!sizes_fit(batch, inputs, labels, fan_in) || units < 0 || begin < 0 || begin > end || end > units ||
      counts == nullptr || per_row > fan_in || evidence_count < 0 || (evidence_count > 0 && evidence_label == nullptr) ||
      loss < LOSS_BCE || loss > LOSS_SOFTMAX ||
      (loss == LOSS_SOFTMAX && (norm == nullptr || (evidence_label != nullptr && evidence_norm == nullptr)))) {
    return ES_BAD_ARGUMENT;
  }
  Layout layout(batch, inputs, fan_in);
  if (workspace_length < layout.length(es_threads())) return ES_BAD_ARGUMENT;
  Regrow args{{batch, inputs, labels, begin, end, layout.tile, h, nullptr, {positive_count, positive_label, positive_row}, loss,
               true, {nullptr, 1.0, 1.0, false}, {weights, weight_m, weight_v, nullptr}, {bias, nullptr, nullptr, nullptr},
               nullptr, workspace, workspace_length, nullptr, norm},
              units,
              fan_in,
              starts,
              columns,
              short_weights,
              scores,
              {evidence_count, evidence_rows, evidence_label, evidence_row, evidence_weight, evidence_h, evidence_norm},
              {per_row, static_cast<float>(threshold), ties},
              static_cast<uint32_t>(key0),
              static_cast<uint32_t>(key1),
              static_cast<uint64_t>(counter),
              pairs != 0 && es_has_bf16() && W == 16,
              counts};
  if (!args.starts_in_range() || !args.step.positives.in_range(labels, batch)) return ES_INDEX_RANGE;
  if (!args.evidence.in_range(args.first_label(begin), args.first_label(end))) return ES_INDEX_RANGE;
  if (column_bytes == 2) return run<uint16_t>(args, layout);
  if (column_bytes == 4) return run<uint32_t>(args, layout);
  return ES_BAD_ARGUMENT;
}

}  // namespace ES_NS
