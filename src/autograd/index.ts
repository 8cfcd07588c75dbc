export { Parameter, type ParameterOptions, type Parametrization } from './parameter.js';
export { type GradientSink, type Operation, Tape } from './tape.js';
