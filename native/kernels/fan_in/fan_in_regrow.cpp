// RigL (Evci et al. 2020) on the fixed fan-in layer and on groups: prunes by magnitude, grows where the dense gradient is
// largest, of a group where the sum of its labels' magnitudes is. The dense gradient dW = G^T h, [labels, inputs], exists
// for one tile of labels per worker and is used at once.
#include "regrow_rows.h"

namespace ES_NS {
namespace {

int64_t count_ties(const Regrow &args, int64_t from, int64_t to, const Worker &worker) {
  const F threshold = set(args.prune.threshold);
  int64_t count = 0;
  for (int64_t unit = from; unit < to; unit++) {
    const float *sizes = sizes_of(args, unit, worker);
    for (int64_t k = args.prune.stays; k < args.fan_in; k += W) {
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
                  const float *evidence_h, const float *evidence_norm, int64_t stays, int64_t per_row, double threshold,
                  int64_t ties, int64_t key0, int64_t key1, int64_t counter, int32_t pairs, float *workspace,
                  int64_t workspace_length, double *counts) {
  const int64_t units = starts == nullptr ? labels : groups;
  if (!sizes_fit(batch, inputs, labels, fan_in) || units < 0 || begin < 0 || begin > end || end > units ||
      counts == nullptr || stays < 0 || stays > fan_in || per_row > fan_in - stays || evidence_count < 0 ||
      (evidence_count > 0 && evidence_label == nullptr) || loss < LOSS_BCE || loss > LOSS_SOFTMAX ||
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
              {stays, per_row, static_cast<float>(threshold), ties},
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
