/** The compiled modules that fuzzing needs. */
import * as data from '../../dist/data/index.js';
import * as png from '../../dist/data/png-folders.js';
import * as readers from '../../dist/data/readers/index.js';
import * as scipy from '../../dist/data/readers/scipy.js';
import * as zip from '../../dist/data/readers/zip.js';
import * as kernels from '../../dist/kernels/index.js';
import * as calibration from '../../dist/model/calibration.js';
import { Classifier } from '../../dist/model/classifier.js';
import * as frequencies from '../../dist/model/frequencies.js';
import * as io from '../../dist/model/model-io.js';
import * as remembered from '../../dist/model/remembered/file.js';
import { modelSpec } from '../../dist/model/spec.js';
import * as store from '../../dist/store/index.js';
import { Device } from '../../dist/tensor/device.js';
import * as config from '../../dist/train/config.js';

export const modules = {
  ...{ data, readers, scipy, kernels, store, config, io, png, calibration, frequencies, remembered, zip },
  model: { Classifier, Device, modelSpec },
};
