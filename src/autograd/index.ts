export { Parameter, type ParameterOptions, type Parametrization } from './parameter.js';
export type { Kept, Need, SavedPolicy, Site } from './saved.js';
export type { Form, FormKind, Saved, SavedRows } from './saved-forms.js';
export { type GradientSink, type Operation, Tape, type TapeOptions } from './tape.js';
