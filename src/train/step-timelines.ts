/** Live bytes over one training step, dense beside what is configured: from dry runs, before anything is made. */
import type { CsrDataset } from '../data/dataset.js';
import type { Kernels } from '../kernels/face.js';
import { SavedActivations } from '../methods/block-sparse/saved-activations.js';
import { Device } from '../tensor/device.js';
import type { MemoryTimeline } from '../tensor/timeline.js';
import { clustersOf } from './auxiliary.js';
import type { TrainConfig } from './config.js';
import { withDenseOutput } from './memory-report.js';
import { recordNetworkStep } from './network/network.js';
import { blankTask, type NetworkSpec, networkOptions } from './network/spec.js';
import { planRun } from './session.js';

export interface TimelinePanel {
  readonly title: string;
  readonly timeline: MemoryTimeline;
}

/** Of a network: every activation dense, each once, beside what `saved` keeps. */
export async function networkTimelines(spec: NetworkSpec, kernels: Kernels): Promise<TimelinePanel[]> {
  const task = blankTask(spec);
  const record = (saved: ConstructorParameters<typeof SavedActivations>[0]) =>
    recordNetworkStep(task, {
      ...networkOptions(spec, kernels),
      saved: new SavedActivations(saved),
    });
  const dense = await record({ inputs: { kind: 'dense' }, masks: false });
  const panels = [{ title: 'dense', timeline: dense }];
  if (spec.saved === null) return panels;
  return [...panels, { title: 'as configured', timeline: await record({ ...spec.saved, sampleEvery: 0 }) }];
}

/** Of a classifier: a dense output layer and dense activations, same optimisers, beside the configured ones. */
export async function classifierTimelines(
  config: TrainConfig,
  kernels: Kernels,
  rows: CsrDataset,
): Promise<TimelinePanel[]> {
  const own = await clustersOf(config, kernels, rows);
  const plain: TrainConfig = {
    ...config,
    model: withDenseOutput(config.model),
    saved: null,
    auxiliary: null,
  };
  const record = async (one: TrainConfig, clusters: typeof own) => {
    const made = await planRun(new Device(kernels), one, { rows, validation: null }, clusters, true);
    return made.plan.timeline as MemoryTimeline;
  };
  return [
    { title: 'dense', timeline: await record(plain, await clustersOf(plain, kernels, rows)) },
    { title: `${config.model.output.kind}, as configured`, timeline: await record(config, own) },
  ];
}
