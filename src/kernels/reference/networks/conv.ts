import type {
  Conv2dArgs,
  Conv2dBackwardInputArgs,
  Conv2dBackwardWeightArgs,
  Conv2dShape,
} from '../../face-networks.js';

/** body(index in x, index in y, index in weight) for every product of the correlation. */
function overProducts(shape: Conv2dShape, body: (x: number, y: number, w: number) => void): void {
  const { batch, inChannels, height, width, outChannels, kernelHeight, kernelWidth } = shape;
  const { stride, padding, groups } = shape;
  const [outHeight, outWidth] = convSides(shape);
  const inputs = inChannels / groups;
  const outputs = outChannels / groups;
  for (let b = 0; b < batch; b++) {
    for (let o = 0; o < outChannels; o++) {
      const first = Math.floor(o / outputs) * inputs;
      for (let i = 0; i < outHeight; i++) {
        for (let j = 0; j < outWidth; j++) {
          const y = ((b * outChannels + o) * outHeight + i) * outWidth + j;
          for (let c = 0; c < inputs; c++) {
            for (let p = 0; p < kernelHeight; p++) {
              const row = i * stride + p - padding;
              if (row < 0 || row >= height) continue;
              for (let q = 0; q < kernelWidth; q++) {
                const column = j * stride + q - padding;
                if (column < 0 || column >= width) continue;
                const x = ((b * inChannels + first + c) * height + row) * width + column;
                body(x, y, ((o * inputs + c) * kernelHeight + p) * kernelWidth + q);
              }
            }
          }
        }
      }
    }
  }
}

/** Height and width of the output. */
function convSides({
  height,
  width,
  kernelHeight,
  kernelWidth,
  stride,
  padding,
}: Conv2dShape): [number, number] {
  const side = (size: number, kernel: number) => Math.floor((size + 2 * padding - kernel) / stride) + 1;
  return [side(height, kernelHeight), side(width, kernelWidth)];
}

export function conv2d(args: Conv2dArgs): void {
  const { x, weight, bias, activation, y, batch, outChannels } = args;
  const [outHeight, outWidth] = convSides(args);
  const plane = outHeight * outWidth;
  const sums = new Float64Array(batch * outChannels * plane);
  if (bias !== null) {
    for (let i = 0; i < sums.length; i++) sums[i] = bias[Math.floor(i / plane) % outChannels];
  }
  overProducts(args, (from, to, tap) => {
    sums[to] += x[from] * weight[tap];
  });
  for (let i = 0; i < sums.length; i++) y[i] = activation === 'relu' && sums[i] < 0 ? 0 : sums[i];
}

/** dx[from] = sum over the products that read it of dy[to] w[tap] */
export function conv2dBackwardInput(args: Conv2dBackwardInputArgs): void {
  const { weight, dy, dx, accumulate, batch, inChannels, height, width } = args;
  const sums = new Float64Array(batch * inChannels * height * width);
  if (accumulate) sums.set(dx.subarray(0, sums.length));
  overProducts(args, (from, to, tap) => {
    sums[from] += dy[to] * weight[tap];
  });
  dx.set(sums);
}

/** dw[tap] = sum over the products that use it of dy[to] x[from]; db[o] = sum of dy over batch and plane */
export function conv2dBackwardWeight(args: Conv2dBackwardWeightArgs): void {
  const { x, dy, dweight, dbias, accumulate, batch, inChannels, outChannels, groups } = args;
  const sums = new Float64Array((outChannels * inChannels * args.kernelHeight * args.kernelWidth) / groups);
  if (accumulate) sums.set(dweight.subarray(0, sums.length));
  overProducts(args, (from, to, tap) => {
    sums[tap] += dy[to] * x[from];
  });
  dweight.set(sums);
  if (dbias === null) return;
  const [outHeight, outWidth] = convSides(args);
  const plane = outHeight * outWidth;
  const biasSums = new Float64Array(outChannels);
  if (accumulate) biasSums.set(dbias.subarray(0, outChannels));
  for (let i = 0; i < batch * outChannels * plane; i++)
    biasSums[Math.floor(i / plane) % outChannels] += dy[i];
  dbias.set(biasSums);
}
