/** Pictures of sparse networks, as SVG and for terminals. They know numbers only. */
export { type Amount, amountsSvg } from './amounts.js';
export { type Bar, barsSvg, barsText } from './bars.js';
export { type HeatMap, heatSvg, heatText } from './heat.js';
export {
  evenly,
  type HistogramPanel,
  type Histograms,
  histogram,
  histogramsSvg,
  histogramText,
} from './histograms.js';
export {
  type IntervalGroup,
  type IntervalMark,
  type Intervals,
  intervalsSvg,
  seriesColours,
  ticks,
} from './intervals.js';
export { type Lines, linesSvg } from './lines.js';
export { type ReliabilityPanel, reliabilitySvg } from './reliability.js';
export { type Scatter, type ScatterPoint, scatterSvg } from './scatter.js';
export { escaped } from './svg.js';
