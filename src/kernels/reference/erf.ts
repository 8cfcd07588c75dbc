const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);
const ONE_OVER_SQRT_2PI = 1 / Math.sqrt(2 * Math.PI);
/** Below, the series; above, the continued fraction, which at this depth is exact to double precision there. */
const SWITCH = 2;
const DEPTH = 60;
/** erfc is below the smallest double from here on. */
const VANISHES = 27.3;

/** The error function, to a few units in the last place. */
export function erf(x: number): number {
  if (Math.abs(x) < SWITCH) return erfSeries(x);
  return x < 0 ? erfc(-x) - 1 : 1 - erfc(x);
}

/** 1 - erf(x) without cancellation in the right tail. */
export function erfc(x: number): number {
  if (x < 0.5) return 1 - erf(x);
  if (x < SWITCH) return 1 - erfSeries(x);
  if (x > VANISHES) return 0;
  // erfc(x) = exp(-x^2)/sqrt(pi) / (x + (1/2)/(x + (2/2)/(x + (3/2)/(x + ...))))   (Laplace)
  let tail = x;
  for (let n = DEPTH; n >= 1; n--) tail = x + n / 2 / tail;
  return (TWO_OVER_SQRT_PI / 2) * (expOfMinusSquare(x) / tail);
}

/** erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!: all terms of one sign, so nothing cancels. */
function erfSeries(x: number): number {
  const twoXX = 2 * x * x;
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= twoXX / (2 * n + 1);
    sum += term;
  }
  return TWO_OVER_SQRT_PI * expOfMinusSquare(x) * sum;
}

/** exp(-x^2), with x split so that the rounding of x^2 is not magnified by the exponential. */
function expOfMinusSquare(x: number): number {
  const high = Math.fround(x);
  return Math.exp(-high * high) * Math.exp(-(x - high) * (x + high));
}

/** Phi(x) = erfc(-x / sqrt 2) / 2: the distribution function of the standard normal. */
export function normalCdf(x: number): number {
  return erfc(-x * Math.SQRT1_2) / 2;
}

/** phi(x) = exp(-x^2 / 2) / sqrt(2 pi): its density. */
export function normalDensity(x: number): number {
  return ONE_OVER_SQRT_2PI * Math.exp((-x * x) / 2);
}
