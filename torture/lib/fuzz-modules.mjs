/** The compiled modules that fuzzing needs. */
import * as data from '../../dist/data/index.js';
import * as readers from '../../dist/data/readers/index.js';
import * as scipy from '../../dist/data/readers/scipy.js';
import * as kernels from '../../dist/kernels/index.js';
import { Classifier } from '../../dist/model/classifier.js';
import * as io from '../../dist/model/model-io.js';
import { modelSpec } from '../../dist/model/spec.js';
import * as store from '../../dist/store/index.js';
import { Device } from '../../dist/tensor/device.js';
import * as config from '../../dist/train/config.js';

/** A reader that this build may lack. */
const optional = (/** @type {string} */ path) => import(path).catch(() => null);

export const modules = {
  png: await optional('../../dist/data/png-folders.js'),
  calibration: await optional('../../dist/model/calibration.js'),
  ...{ data, readers, scipy, kernels, store, config, io, model: { Classifier, Device, modelSpec } },
};
