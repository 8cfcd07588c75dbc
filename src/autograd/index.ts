export { Parameter, type ParameterOptions, type Parametrization } from './parameter.js';
export type { Form, FormKind, Kept, Need, Saved, SavedPolicy, Site } from './saved.js';
export { type GradientSink, type Operation, Tape, type TapeOptions } from './tape.js';
