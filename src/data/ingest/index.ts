export { type Ingested, ingest } from './ingest.js';
export { longTailSvg, longTailText } from './long-tail.js';
export { type IngestOptions, type IngestProgress, ingestDefaults } from './options.js';
export { type IngestReport, suggestSettings } from './report.js';
