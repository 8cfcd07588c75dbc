/** Turns training events into the progress line and the lines that stay. */
import pc from 'picocolors';
import type { TrainEvent } from '../train/events.js';
import { duration, ProgressLine } from './terminal.js';

export function trainingPrinter(): { event(event: TrainEvent): void; done(): void } {
  const line = new ProgressLine();
  let precision = '';
  const event = (e: TrainEvent): void => {
    switch (e.event) {
      case 'start':
        line.say(
          `training on ${e.rows.toLocaleString('en')} rows${e.labelRows === undefined ? '' : ` and ${e.labelRows.toLocaleString('en')} of labels`}, ${e.features.toLocaleString('en')} features, ${e.labels.toLocaleString('en')} labels: ${e.weights.toLocaleString('en')} weights, ${(e.plannedBytes / 2 ** 20).toFixed(0)} MiB planned, kernels ${e.kernels} on ${e.threads} thread${e.threads === 1 ? '' : 's'}`,
        );
        if (e.resumedAt > 0) line.say(`resumed at step ${e.resumedAt}`);
        break;
      case 'output-chosen':
        line.say(`output layer: ${pc.bold(e.name)}, chosen: ${e.reason}`);
        if (e.tooLarge.length > 0) line.say(`  would not fit: ${e.tooLarge.join('; ')}`);
        break;
      case 'continued': {
        const { labels, features, fittedRows } = e;
        const n = (count: number) => count.toLocaleString('en');
        const rowless = labels.addedWithoutRows === 0 ? '' : ` (${n(labels.addedWithoutRows)} without a row)`;
        line.say(
          `from ${e.model}: ${n(labels.kept)} labels kept, ${n(labels.added)} new${rowless}, ${n(labels.dropped)} dropped; ${n(features.kept)} features kept${features.added + features.dropped > 0 ? `, ${n(features.added)} new, ${n(features.dropped)} dropped` : ''}`,
        );
        if (e.learns === 'new') line.say('only the new labels learn; all else stays as it is');
        if (fittedRows !== null && e.mode === 'continue')
          line.say(
            `vocabulary and document frequencies stay those of the ${n(fittedRows)} rows they were fitted on`,
          );
        break;
      }
      case 'clusters':
        line.say(
          `${e.clusters.toLocaleString('en')} clusters of up to ${e.largest} labels in ${e.seconds.toFixed(1)} s, for the auxiliary objective`,
        );
        break;
      case 'progress': {
        const filled = Math.floor((20 * e.step) / e.steps);
        const bar = `${'#'.repeat(filled)}${'-'.repeat(20 - filled)}`;
        line.show(
          `epoch ${e.epoch.toFixed(1)}/${e.epochs} ${bar} loss ${e.loss.toFixed(2)}${precision} ${Math.round(e.examplesPerSecond).toLocaleString('en')} ex/s ETA ${duration(e.etaSeconds)} ${(e.rssBytes / 2 ** 20).toFixed(0)} MiB`,
        );
        break;
      }
      case 'validation':
        precision = ` P@1 ${e.precision['1'].toFixed(1)}`;
        line.say(
          `epoch ${e.epoch.toFixed(e.epoch % 1 === 0 ? 0 : 1)}: ${pc.bold(`P@1 ${e.precision['1'].toFixed(2)}`)} P@3 ${e.precision['3'].toFixed(2)} P@5 ${e.precision['5'].toFixed(2)} on ${e.rows} validation rows`,
        );
        break;
      case 'best':
        line.say(
          `the model of epoch ${e.epoch.toFixed(e.epoch % 1 === 0 ? 0 : 1)} is kept: P@1 ${e.value.toFixed(2)} on validation rows was the best`,
        );
        break;
      case 'labels-levelled':
        line.say(
          e.by === null
            ? `too few of the ${e.rows} validation rows have new labels to tell whether these are too loud`
            : `new labels moved by ${e.by.toFixed(2)} in logits: validation rows without one lose ${e.lost.toFixed(2)} points of P@1 to them`,
        );
        break;
      case 'calibration':
        line.say(
          `probabilities: expected calibration error ${(100 * e.before).toFixed(2)} % before, ${(100 * e.after).toFixed(2)} % after (${e.method}${e.buckets.length > 0 ? `, ${e.buckets.join(', ')} apart` : ''}${e.labels > 0 ? `, ${e.labels.toLocaleString('en')} labels by themselves` : ''})`,
        );
        break;
      case 'checkpoint':
        line.say(pc.dim(`checkpoint at step ${e.step}`));
        break;
      case 'checkpoint-damaged':
        line.say(pc.yellow(`passed over the damaged checkpoint at step ${e.step}: ${e.problem}`));
        break;
      case 'rewire':
      case 'layer':
      case 'memory':
      case 'snapshot':
      case 'end':
        break;
    }
  };
  return { event, done: () => line.clear() };
}
