/** The door to the kernels. */

export type { Backend, KernelChoice, KernelOptions } from './choose.js';
export { chooseKernels, selectKernels } from './choose.js';
export type * from './face.js';
export type * from './face-networks.js';
export { availableIsas, loadNative, type NativeOptions } from './native.js';
export { adviseHugePages, type Isa, MAX_THREADS } from './native-addon.js';
export { type BuildOptions, type BuildResult, buildNative } from './native-build.js';
export { RandomStream } from './random.js';
export { referenceKernels } from './reference/index.js';
export { type BackendReport, backendReport, measurePeak, nativeScratchBytes, type Peak } from './report.js';
