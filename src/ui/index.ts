/** The dashboard of training runs. */
export { type RunningUi, startUi, type UiOptions } from './server.js';
