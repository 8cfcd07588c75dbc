export * from './estimate.js';
export * from './propensities.js';
export * from './reliability.js';
export * from './top-k.js';
