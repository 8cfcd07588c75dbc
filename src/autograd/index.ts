export { Parameter, type ParameterOptions } from './parameter.js';
export { type GradientSink, type Operation, Tape } from './tape.js';
