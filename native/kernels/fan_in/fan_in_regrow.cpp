// RigL (Evci et al. 2020) on the fixed fan-in layer: prunes by magnitude, grows where the dense gradient is largest.
// The dense gradient dW = G^T h, [labels, inputs], exists for one tile of labels per worker and is used at once.
#include "../dense_output/products.h"
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

struct Regrow {
  StepArgs step;
  int64_t fan_in;
  void *columns;
  Evidence evidence;
  Prune prune;
  uint32_t key0, key1;
  uint64_t counter;
  double *counts;
};

struct Layout {
  Blocks blocks;
  int64_t tile, hidden, by_input, logits, dense, strips, lists, candidates, marks, worker;

  static constexpr int64_t HEADER = 16;

  Layout(int64_t batch, int64_t inputs, int64_t fan_in) : blocks(batch), tile(tile_labels(inputs)) {
    hidden = round_up(inputs * blocks.padded(), 16);
    by_input = round_up(panels_length(batch, inputs), 16);
    logits = round_up(tile * blocks.padded(), 16);
    dense = round_up(tile * inputs + W, 16);
    strips = round_up(strips_length(tile, KC), 16);
    lists = round_up(fan_in + W, 16);
    candidates = round_up(inputs + W, 16);
    marks = round_up((inputs + 3) / 4, 16);
    worker = logits + dense + strips + lists + 2 * candidates + marks + 16;
  }
  int64_t length(int workers) const { return HEADER + hidden + by_input + workers * worker + 16; }
};

struct Worker {
  float *logits;    // G: [labels of the tile][padded batch]
  float *dense;     // [labels of the tile][inputs]
  float *strips;
  uint32_t *doomed;  // slots of a row that go
  uint32_t *grown;   // columns that come, ascending; room for all candidates
  float *keys;       // of candidates
  uint8_t *used;     // [inputs], all 0 between rows
  double *counts;    // replaced, ties used, code

  Worker(const Layout &at, float *base) {
    logits = base;
    dense = logits + at.logits;
    strips = dense + at.dense;
    doomed = reinterpret_cast<uint32_t *>(strips + at.strips);
    grown = doomed + at.lists;
    keys = strips + at.strips + at.lists + at.candidates;
    used = reinterpret_cast<uint8_t *>(keys + at.candidates);
    counts = reinterpret_cast<double *>(keys + at.candidates + at.marks);
  }
};

template <class Column>
class Rows {
 public:
  Rows(const Regrow &args, const Layout &layout, const float *hT, const float *by_input, Worker &worker, int64_t ties)
      : args_(args), step_(args.step), layout_(layout), hT_(hT), by_input_(by_input), worker_(worker), ties_(ties) {}

  // Labels [from, to), one tile.
  void run(int64_t from, int64_t to) {
    const int64_t inputs = step_.inputs, fan_in = args_.fan_in;
    Column *columns = static_cast<Column *>(args_.columns) + from * fan_in;
    if (!all_below((to - from) * fan_in, columns, inputs)) {
      worker_.counts[2] = ES_INDEX_RANGE;
      return;
    }
    gradients(from, to, columns);
    for (int64_t l = 0; l < to - from; l++) replace(from + l, columns + l * fan_in, worker_.dense + l * inputs);
  }

 private:
  void gradients(int64_t from, int64_t to, const Column *columns) {
    const int64_t inputs = step_.inputs, fan_in = args_.fan_in, ldz = layout_.blocks.padded();
    if (step_.batch == 0) {
      __builtin_memset(worker_.dense, 0, static_cast<size_t>((to - from) * inputs) * 4);
    } else {
      int64_t positives_at = step_.positives.lower_bound(from);
      each_block(layout_.blocks, [&](auto nv, int64_t block) {
        constexpr int NV = decltype(nv)::value;
        LabelLoss loss(step_, layout_.blocks, block, positives_at, Norms());
        LossSum sum;
        int64_t first = layout_.blocks.first_row(block);
        for (int64_t l = from; l < to; l++) {
          F z[NV];
          forward_label<NV>(fan_in, columns + (l - from) * fan_in, step_.weights.w + l * fan_in, step_.bias.w[l],
                            hT_ + first * inputs, z);
          loss.gradient<NV>(static_cast<uint32_t>(l), z, sum);
          for (int v = 0; v < NV; v++) store(worker_.logits + (l - from) * ldz + first + v * W, z[v]);
        }
      });
      if (args_.evidence.label != nullptr) drop_positives(from, to, positives_at);
      weight_product(to - from, inputs, step_.batch, worker_.logits, ldz, by_input_, worker_.dense, worker_.strips);
    }
    if (args_.evidence.label != nullptr) add_evidence(from, to, columns);
  }

  // The evidence speaks for the positives: the batch stands for the negatives alone.
  void drop_positives(int64_t from, int64_t to, int64_t at) {
    const Positives &p = step_.positives;
    for (; at < p.count && p.label[at] < to; at++) {
      worker_.logits[(p.label[at] - from) * layout_.blocks.padded() + p.row[at]] = 0.0f;
    }
  }

  void add_evidence(int64_t from, int64_t to, const Column *columns) {
    const int64_t inputs = step_.inputs, fan_in = args_.fan_in;
    const Evidence &e = args_.evidence;
    for (int64_t i = Positives{e.count, e.label, e.row}.lower_bound(from); i < e.count && e.label[i] < to; i++) {
      const int64_t l = e.label[i] - from;
      const float *h = e.h + e.row[i] * inputs, *w = step_.weights.w + e.label[i] * fan_in;
      double z = step_.bias.w[e.label[i]];
      for (int64_t k = 0; k < fan_in; k++) z += static_cast<double>(w[k]) * h[columns[l * fan_in + k]];
      F g = set(e.weight[i]) * slope(static_cast<float>(z));
      float *row = worker_.dense + l * inputs;
      int64_t j = 0;
      for (; j + W <= inputs; j += W) store(row + j, fma(g, load(h + j), load(row + j)));
      int rest = static_cast<int>(inputs - j);
      if (rest > 0) store_n(row + j, fma(g, load_n(h + j, rest), load_n(row + j, rest)), rest);
    }
  }

  // dloss/dz at a positive.
  F slope(float z) const {
    if (step_.loss == LOSS_SQUARED_HINGE) return set(-2.0f) * max_of(zero(), set(1.0f - z));
    F e = exp_minus(set(__builtin_fabsf(z)));
    return zero() - (z > 0.0f ? e : set(1.0f)) / (set(1.0f) + e);
  }

  void replace(int64_t label, Column *columns, float *gradient) {
    const int64_t fan_in = args_.fan_in, base = label * fan_in;
    float *w = step_.weights.w + base;
    const int64_t going = choose(w);
    if (going == 0) return;
    uint32_t *doomed = worker_.doomed, *grown = worker_.grown;
    // What stays is no candidate: all columns of the row to 0, then back what those that go had.
    for (int64_t i = 0; i < going; i++) worker_.keys[i] = gradient[columns[doomed[i]]];
    for (int64_t k = 0; k < fan_in; k++) gradient[columns[k]] = 0.0f;
    for (int64_t i = 0; i < going; i++) gradient[columns[doomed[i]]] = worker_.keys[i];
    const int64_t coming =
        select_largest<LargestMagnitudes>(gradient, step_.inputs, going, __FLT_DENORM_MIN__, worker_.keys, grown);
    if (coming < going) fill(label, columns, going, coming);

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
      w[slot] = 0.0f;
      if (step_.weights.m != nullptr) step_.weights.m[base + slot] = 0.0f;
      if (step_.weights.v != nullptr) step_.weights.v[base + slot] = 0.0f;
    }
    worker_.counts[0] += static_cast<double>(left);
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
  __attribute__((noinline)) void fill(int64_t label, const Column *columns, int64_t going, int64_t coming) {
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
      const uint64_t at = static_cast<uint64_t>(label * fan_in + i);
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
  const float *hT_, *by_input_;
  Worker &worker_;
  int64_t ties_;
};

int64_t count_ties(const Regrow &args, int64_t from, int64_t to) {
  const float *w = args.step.weights.w;
  const F threshold = set(args.prune.threshold);
  int64_t count = 0;
  for (int64_t i = from * args.fan_in; i < to * args.fan_in; i += W) {
    const int64_t rest = to * args.fan_in - i;
    const F size = abs_of(rest < W ? load_n(w + i, static_cast<int>(rest)) : load(w + i));
    // Not below and not above, lane by lane.
    uint32_t equal = ~(not_below(size, threshold) | not_below(threshold, size)) & ((1u << (rest < W ? rest : W)) - 1u);
    count += __builtin_popcount(equal);
  }
  return count;
}

template <class Column>
int run(const Regrow &args, const Layout &layout) {
  const StepArgs &step = args.step;
  const int threads = es_threads();
  float *hT = align64(step.workspace) + Layout::HEADER, *by_input = hT + layout.hidden, *workers = by_input + layout.by_input;
  transpose_hidden(layout.blocks, step.inputs, step.h, hT);
  pack_hidden_by_input(step.batch, step.inputs, step.h, by_input);
  const int64_t tiles = (step.end - step.begin + layout.tile - 1) / layout.tile;
  const int tasks = tiles < threads ? static_cast<int>(tiles) : threads;
  const auto first_of = [&](int task) {
    int64_t first = step.begin + tiles * task / tasks * layout.tile;
    return first < step.end ? first : step.end;
  };
  // Ties go in the order of slots whoever works: each task must know how many lie before it.
  const bool ties = args.prune.per_row < 0 && args.prune.ties > 0;
  parallel_tasks(tasks, [&](int task, int) {
    Worker worker(layout, workers + task * layout.worker);
    worker.counts[0] = worker.counts[2] = 0.0;
    worker.counts[1] = ties ? static_cast<double>(count_ties(args, first_of(task), first_of(task + 1))) : 0.0;
    __builtin_memset(worker.used, 0, static_cast<size_t>(step.inputs));
    // The lanes beyond the batch are read by the product, never written.
    __builtin_memset(worker.logits, 0, static_cast<size_t>(layout.logits) * 4);
  });
  parallel_tasks(tasks, [&](int task, int) {
    int64_t before = 0;
    for (int t = 0; t < task; t++) before += static_cast<int64_t>(Worker(layout, workers + t * layout.worker).counts[1]);
    Worker worker(layout, workers + task * layout.worker);
    Rows<Column> rows(args, layout, hT, by_input, worker, ties ? args.prune.ties - before : 0);
    const int64_t end = first_of(task + 1);
    for (int64_t from = first_of(task); from < end && worker.counts[2] == 0.0; from += layout.tile) {
      rows.run(from, from + layout.tile < end ? from + layout.tile : end);
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

int fan_in_regrow(int64_t batch, int64_t inputs, int64_t labels, int64_t begin, int64_t end, int64_t fan_in, const float *h,
                  int64_t positive_count, const uint32_t *positive_label, const uint32_t *positive_row, int32_t loss,
                  void *columns, int32_t column_bytes, float *weights, float *weight_m, float *weight_v, float *bias,
                  int64_t evidence_count, int64_t evidence_rows, const uint32_t *evidence_label, const uint32_t *evidence_row,
                  const float *evidence_weight, const float *evidence_h, int64_t per_row, double threshold, int64_t ties,
                  int64_t key0, int64_t key1, int64_t counter, float *workspace, int64_t workspace_length, double *counts) {
  if (!sizes_fit(batch, inputs, labels, fan_in) || begin < 0 || begin > end || end > labels || counts == nullptr ||
      per_row > fan_in || evidence_count < 0 || (evidence_count > 0 && evidence_label == nullptr) ||
      (loss != LOSS_BCE && loss != LOSS_SQUARED_HINGE)) {
    return ES_BAD_ARGUMENT;
  }
  Layout layout(batch, inputs, fan_in);
  if (workspace_length < layout.length(es_threads())) return ES_BAD_ARGUMENT;
  Regrow args{{batch, inputs, labels, begin, end, layout.tile, h, nullptr, {positive_count, positive_label, positive_row}, loss,
               true, {nullptr, 1.0, 1.0, false}, {weights, weight_m, weight_v, nullptr}, {bias, nullptr, nullptr, nullptr},
               nullptr, workspace, workspace_length, nullptr, nullptr},
              fan_in,
              columns,
              {evidence_count, evidence_rows, evidence_label, evidence_row, evidence_weight, evidence_h},
              {per_row, static_cast<float>(threshold), ties},
              static_cast<uint32_t>(key0),
              static_cast<uint32_t>(key1),
              static_cast<uint64_t>(counter),
              counts};
  if (!args.step.positives.in_range(labels, batch) || !args.evidence.in_range(begin, end)) return ES_INDEX_RANGE;
  if (column_bytes == 2) return run<uint16_t>(args, layout);
  if (column_bytes == 4) return run<uint32_t>(args, layout);
  return ES_BAD_ARGUMENT;
}

}  // namespace ES_NS
