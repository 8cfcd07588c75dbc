/** A model behind HTTP. */
export { defaultLimits, type ServeLimits } from './limits.js';
export { type RunningServer, type ServeOptions, serve } from './server.js';
