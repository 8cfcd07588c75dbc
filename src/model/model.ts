/** A model as programs use it: loaded once, asked often. */
import { EspalierError, suggest } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import type { Classifier, ClassifierShape } from './classifier.js';
import { describeLabel, type Explanation, explainRow, type LabelFacts } from './explain.js';
import { type ModelInput, rowOf } from './input.js';
import { type LoadedModel, loadClassifier } from './model-io.js';
import { confident, type Prediction, predictionsOf, topRows } from './predict.js';
import { widthWithout, without } from './ranking.js';
import type { ModelSpec } from './spec.js';

export interface PredictOptions {
  /** Labels per answer; default 5. */
  readonly k?: number;
  /** Leave out labels below this probability, or score where the model has no probabilities. */
  readonly threshold?: number;
  /**
   * Leave out labels of probabilities at which predictions of labels as frequent were right less often than this, on
   * validation rows; for models with a calibration.
   */
  readonly precision?: number;
  /**
   * Favour labels that were seen rarely: rank by score - rare * log p_l, p_l the propensity of label l (0 to 10; 1 finds
   * more rare labels at little cost in others; 0: the model's own order). Default: the model's `rare`, 0 where it has none.
   */
  readonly rare?: number;
  /**
   * Labels that are no answer, by name or by number, as a product is none to those who have it: the k best of all others
   * are answered. Those that the model does not know are in nobody's way. Default: none.
   */
  readonly exclude?: readonly (string | number)[];
  /** Say of so many of the best labels why; default 0. */
  readonly explain?: number;
  /** Features and hidden units per explanation; default 10. */
  readonly evidence?: number;
}

export interface Answer {
  /** Best first: by probability where the model's calibration found that better, else by score; or as `rare` says. */
  readonly predictions: readonly Prediction[];
  /** Whether `threshold` or `precision` left nothing: the input is of no label that the model is sure of. */
  readonly none: boolean;
  /** Features of the input that the model knows: at 0 the answer says only how frequent labels are. */
  readonly knownFeatures: number;
  /** As many as asked for; empty by default. */
  readonly explanations: readonly Explanation[];
}

export interface DescribedLabel extends Omit<LabelFacts, 'neighbours'> {
  readonly name: string;
  readonly neighbours: readonly { readonly label: number; readonly name: string; readonly cosine: number }[];
}

export class Model implements LoadedModel {
  readonly directory: string;
  readonly classifier: Classifier;
  readonly shape: ClassifierShape;
  readonly spec: ModelSpec;
  readonly labelNames: readonly string[];
  readonly featurizer: LoadedModel['featurizer'];
  readonly calibration: LoadedModel['calibration'];
  readonly frequencies: LoadedModel['frequencies'];
  readonly remembered: LoadedModel['remembered'];
  readonly rare: number;
  readonly metrics: unknown;
  /** Every question uses the one step arena: they are answered one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(loaded: LoadedModel) {
    this.directory = loaded.directory;
    this.classifier = loaded.classifier;
    this.shape = loaded.shape;
    this.spec = loaded.spec;
    this.labelNames = loaded.labelNames;
    this.featurizer = loaded.featurizer;
    this.calibration = loaded.calibration;
    this.frequencies = loaded.frequencies;
    this.remembered = loaded.remembered;
    this.rare = loaded.rare ?? 0;
    this.metrics = loaded.metrics;
  }

  static async load(path: string, kernels: Kernels): Promise<Model> {
    const loaded = await loadClassifier(path, kernels);
    loaded.classifier.output.prepareTopK?.();
    return new Model(loaded);
  }

  /**
   * The best labels of one input.
   * @throws EspalierError `PREDICT_NO_TEXT`, `PREDICT_FIELD`, `PREDICT_FEATURE`, `TOP_K_RANGE`, `NO_CALIBRATION`,
   * `RARE_RANGE`, `RARE_UNKNOWN`
   * @example const { predictions } = await model.predict('small domesticated carnivore', { k: 5 });
   */
  async predict(input: ModelInput, options: PredictOptions = {}): Promise<Answer> {
    const [answer] = await this.predictAll([input], options);
    return answer;
  }

  /** The same for many inputs at once, which is faster than one by one. */
  predictAll(inputs: readonly ModelInput[], options: PredictOptions = {}): Promise<Answer[]> {
    const { k = 5, threshold, precision, rare = this.rare, explain = 0, evidence = 10 } = options;
    const excluded = new Set(options.exclude);
    return this.#inTurn(async () => {
      const rows = inputs.map((input) => rowOf(this, input));
      if (rows.length === 0) return [];
      const asked = { ...(this as LoadedModel), rare };
      const nameOf = (label: number) => this.labelNames[label];
      const wide = await topRows(asked, rows, widthWithout(k, excluded));
      const top = without(wide, k, excluded, nameOf);
      return rows.map((row, r) => {
        const all = predictionsOf(top, r, asked, nameOf);
        const predictions = confident(all, { threshold, precision }, this.calibration);
        const labels = predictions.slice(0, explain).map(({ label }) => label);
        const explanations = labels.length === 0 ? [] : explainRow(this, row, labels, evidence);
        const none = predictions.length === 0 && all.length > 0;
        return { predictions, none, knownFeatures: row.indices.length, explanations };
      });
    });
  }

  /**
   * What a label, by number or by name, is made of: its connections and the labels most alike.
   * @throws EspalierError `LABEL_UNKNOWN`
   */
  describeLabel(label: number | string, top = 10): Promise<DescribedLabel> {
    return this.#inTurn(async () => {
      const facts = await describeLabel(this, this.#labelId(label), top);
      const named = (l: number) => this.labelNames[l] ?? String(l);
      const neighbours = facts.neighbours.map((near) => ({ ...near, name: named(near.label) }));
      return { ...facts, name: named(facts.label), neighbours };
    });
  }

  #labelId(label: number | string): number {
    const id = typeof label === 'number' ? label : this.labelNames.indexOf(label);
    if (Number.isInteger(id) && id >= 0 && id < this.shape.labels) return id;
    const near = typeof label === 'string' ? suggest(label, this.labelNames) : undefined;
    throw new EspalierError({
      code: 'LABEL_UNKNOWN',
      kind: 'usage',
      op: 'describeLabel',
      problem: 'the model has no such label',
      expected: `a name, or a number from 0 to ${this.shape.labels - 1}`,
      received: JSON.stringify(label),
      hint: near === undefined ? undefined : `did you mean ${JSON.stringify(near)}?`,
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}
