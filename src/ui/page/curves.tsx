/** Curves of all chosen runs: loss, scores, speed, memory of the process. */
import { useState } from 'preact/hooks';
import type { Figure, Validation } from '../../reports/types.js';
import { type Chosen, colour, dashes } from './chosen.js';
import { Curve, type CurveProps, type Line } from './curve.js';
import { byteSteps, bytes, count, duration, percent, plainTick, short } from './format.js';
import { Segments, useCutoff } from './segments.js';

type Axis = 'step' | 'epoch' | 'time';
const axes: readonly Axis[] = ['step', 'epoch', 'time'];
const showAxis = { step: count, epoch: short, time: duration };
const xOf = (
  axis: Axis,
  of: { step: readonly number[]; epoch: readonly Figure[]; seconds: readonly number[] },
) => (axis === 'step' ? of.step : axis === 'epoch' ? of.epoch : of.seconds);
const rowsAsTable = (rows: readonly Validation[]) => ({
  step: rows.map(({ step }) => step),
  epoch: rows.map(({ epoch }) => epoch),
  seconds: rows.map(({ seconds }) => seconds),
});

type Panel = Omit<CurveProps, 'xName' | 'showX'>;

export function Curves({ runs }: { readonly runs: readonly Chosen[] }) {
  const [axis, setAxis] = useState<Axis>('step');
  const [scale, setScale] = useState<'linear' | 'log'>('linear');
  const cutoffsOf = ({ report }: Chosen) =>
    report?.validations.flatMap((v) => Object.keys(v.precision)) ?? [];
  const { cutoffs, cutoff: found, choice } = useCutoff('k', '1', () => runs.flatMap(cutoffsOf), runs);
  const cutoff = found ?? cutoffs[0] ?? '1';
  const of = (column: string): Line[] =>
    runs.flatMap(({ place, summary, report }) => {
      const values = report?.progress.columns[column];
      if (report === undefined || values === undefined) return [];
      const { mean, low, high } = values;
      const wide = column === 'loss' ? { low, high } : {};
      return [
        {
          name: summary.name,
          colour: colour(place),
          dash: dashes[place],
          x: xOf(axis, report.progress),
          y: mean,
          ...wide,
        },
      ];
    });
  const scores = (of: (v: Validation) => Figure | undefined): Line[] =>
    runs.flatMap(({ place, summary, report }) =>
      report === undefined || report.validations.length === 0
        ? []
        : [
            {
              ...{ name: summary.name, colour: colour(place), dash: dashes[place], dots: true },
              x: xOf(axis, rowsAsTable(report.validations)),
              y: report.validations.map((v) => of(v) ?? null),
            },
          ],
    );
  const common = { xName: axis, showX: showAxis[axis] };
  const waiting = 'Nothing yet: the first values come seconds after a run begins.';
  const noScores =
    'No validation yet. Runs score validation rows every epoch: see validation.every in the settings.';
  const auxiliary = of('auxiliaryLoss');
  const panels: readonly Panel[] = [
    {
      ...{ title: 'Training loss', unit: 'mean per example', lines: of('loss') },
      ...{ show: short, log: scale === 'log', empty: waiting },
    },
    {
      ...{ title: `P@${cutoff}`, unit: 'validation rows, %', lines: scores((v) => v.precision[cutoff]) },
      ...{ show: percent, tick: plainTick, empty: noScores },
    },
    {
      ...{ title: `PSP@${cutoff}`, unit: 'worth of rare labels, %', lines: scores((v) => v.psp[cutoff]) },
      ...{ show: percent, tick: plainTick, empty: noScores },
    },
    {
      ...{ title: 'Throughput', unit: 'examples / s', lines: of('examplesPerSecond') },
      ...{ show: short, zero: true, empty: waiting },
    },
    {
      ...{ title: 'Learning rate', unit: 'output layer', lines: of('rate') },
      ...{ show: short, zero: true, empty: waiting },
    },
    {
      ...{ title: 'Gradient at the encoder', unit: 'norm, last step', lines: of('encoderNorm') },
      ...{ show: short, zero: true, empty: waiting },
    },
    {
      ...{ title: 'Resident memory', unit: 'of the process', lines: of('rssBytes') },
      ...{ show: bytes, incrs: byteSteps, zero: true, empty: waiting },
    },
    ...(auxiliary.length === 0
      ? []
      : [
          {
            ...{ title: 'Auxiliary loss', unit: 'mean per example', lines: auxiliary },
            ...{ show: short, empty: waiting },
          },
        ]),
  ];
  return (
    <>
      <div class="controls">
        <Segments name="axis" title="Across" options={axes} value={axis} onChange={setAxis} />
        <Segments
          name="scale"
          title="Loss"
          options={['linear', 'log'] as const}
          value={scale}
          onChange={setScale}
        />
        {choice(cutoff)}
      </div>
      <div class="grid">
        {panels.map((panel, i) => (
          <Curve key={i} {...common} {...panel} />
        ))}
      </div>
    </>
  );
}
