import { describe, expect, it } from 'vitest';
import { erf, erfc, normalCdf, normalDensity } from './erf.js';

/** x, erf(x), erfc(x), from mpmath 1.3.0 at 30 digits; both sides of every switch between formulas. */
const ERF: readonly (readonly [number, string, string])[] = [
  [1e-300, '1.1283791670955126022e-300', '1.0'],
  [1e-10, '1.128379167095512615e-10', '0.99999999988716208329'],
  [0.1, '0.1124629160182848984', '0.8875370839817151016'],
  [0.5, '0.52049987781304653768', '0.47950012218695346232'],
  [0.75, '0.7111556336535151316', '0.2888443663464848684'],
  [1, '0.84270079294971486934', '0.15729920705028513066'],
  [1.5, '0.96610514647531072707', '0.033894853524689272933'],
  [1.99, '0.99511141319961699705', '0.0048885868003830029527'],
  [2, '0.99532226501895273416', '0.0046777349810472658379'],
  [2.01, '0.99552484935524823708', '0.0044751506447517629202'],
  [2.5, '0.99959304798255504106', '0.00040695201744495893956'],
  [3, '0.99997790950300141456', '0.000022090496998585441373'],
  [4, '0.99999998458274209972', '1.5417257900280018852e-8'],
  [5, '0.99999999999846254021', '1.5374597944280348502e-12'],
  [6, '0.99999999999999997848', '2.1519736712498913117e-17'],
  [8, '1.0', '1.122429717298292708e-29'],
  [10, '1.0', '2.088487583762544757e-45'],
  [20, '1.0', '5.3958656116079009289e-176'],
  [26, '1.0', '5.6631924088561428465e-296'],
];

/** x, Phi(x), phi(x), from the same. */
const NORMAL: readonly (readonly [number, string, string])[] = [
  [-30, '4.9067139271481870595e-198', '1.473646134878547519e-196'],
  [-14, '7.7935368191928002544e-45', '1.0966065593889713063e-43'],
  [-8, '6.2209605742717841235e-16', '5.052271083536892288e-15'],
  [-5, '2.8665157187919391167e-7', '1.4867195147342977079e-6'],
  [-3, '0.0013498980316300945267', '0.0044318484119380071756'],
  [-1, '0.15865525393145705141', '0.2419707245191433498'],
  [-0.1, '0.46017216272297101633', '0.39695254747701176529'],
  [0, '0.5', '0.39894228040143267794'],
  [0.1, '0.53982783727702898367', '0.39695254747701176529'],
  [1, '0.84134474606854294859', '0.2419707245191433498'],
  [3, '0.99865010196836990547', '0.0044318484119380071756'],
  [8, '0.9999999999999993779', '5.052271083536892288e-15'],
];

const ULP = 2 ** -52;

function relativeError(got: number, want: string): number {
  return Math.abs(got / Number(want) - 1);
}

describe('erf', () => {
  it.each(ERF)('erf(%f) and erfc are exact to a few units in the last place', (x, value, complement) => {
    expect(relativeError(erf(x), value)).toBeLessThanOrEqual(4 * ULP);
    // Where erfc is taken as 1 - erf, up to x = 2, it loses what erf has more than it: 1 / erfc(2) = 214 units.
    expect(relativeError(erfc(x), complement)).toBeLessThanOrEqual((x < 2 ? 250 : 8) * ULP);
  });

  it('is odd, and erfc(x) + erfc(-x) = 2', () => {
    for (const [x] of ERF) {
      expect(erf(-x)).toBe(-erf(x));
      expect(Math.abs(erfc(x) + erfc(-x) - 2)).toBeLessThanOrEqual(4 * ULP);
    }
  });

  it('reaches its limits', () => {
    expect([erf(Infinity), erf(-Infinity), erfc(Infinity), erfc(-Infinity), erf(0)]).toEqual([
      1, -1, 0, 2, 0,
    ]);
    expect(erf(Number.NaN)).toBeNaN();
    expect(erfc(Number.NaN)).toBeNaN();
  });

  it('does not step where the series hands over to the continued fraction', () => {
    const below = erfc(2 - 1e-9);
    const above = erfc(2);
    const slope = (2 / Math.sqrt(Math.PI)) * Math.exp(-4);
    expect(Math.abs(below - above - slope * 1e-9)).toBeLessThan(1e-15);
  });
});

describe('the standard normal', () => {
  it.each(NORMAL)('has Phi(%f) and phi, the lower tail to relative accuracy', (x, below, density) => {
    // x / sqrt 2 is rounded: a relative error of x^2 units in the tail. The middle loses as erfc does.
    const units = 8 + 2 * x * x + (x > -2.9 && x < 0 ? 250 : 0);
    expect(relativeError(normalCdf(x), below)).toBeLessThanOrEqual(units * ULP);
    expect(relativeError(normalDensity(x), density)).toBeLessThanOrEqual(units * ULP);
  });
});
