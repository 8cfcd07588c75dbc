/** Pictures of sparse networks, as SVG and for terminals. They know numbers only. */
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
