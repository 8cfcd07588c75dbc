import { expect, test } from 'vitest';
import {
  bfloat16ToNumber,
  dtypeOf,
  elementBytes,
  float16ToNumber,
  holds,
  makeArray,
  storedDtypes,
} from './dtypes.js';

test('every dtype makes an array that holds it and has its element size', () => {
  for (const dtype of storedDtypes) {
    const array = makeArray(dtype, 3);
    expect(array.length).toBe(3);
    expect(array.BYTES_PER_ELEMENT).toBe(elementBytes(dtype));
    expect(holds(dtype, array)).toBe(true);
    expect(holds(dtypeOf(array)!, array)).toBe(true);
  }
});

test('bfloat16 is the upper half of float32, for all 65,536 patterns', () => {
  const words = Uint32Array.from({ length: 65536 }, (_, bits) => bits * 65536);
  const floats = new Float32Array(words.buffer);
  const wrong = [...floats.keys()].filter((bits) => !Object.is(bfloat16ToNumber(bits), floats[bits]));
  expect(wrong).toEqual([]);
});

test('float16 has the known landmarks of IEEE 754 binary16', () => {
  const landmarks: [number, number][] = [
    [0x0000, 0],
    [0x8000, -0],
    [0x0001, 2 ** -24],
    [0x03ff, 2 ** -14 - 2 ** -24],
    [0x0400, 2 ** -14],
    [0x3555, 0.333251953125],
    [0x3c00, 1],
    [0x3c01, 1 + 2 ** -10],
    [0xc000, -2],
    [0x7bff, 65504],
    [0x7c00, Number.POSITIVE_INFINITY],
    [0xfc00, Number.NEGATIVE_INFINITY],
    [0x7e00, Number.NaN],
  ];
  for (const [bits, value] of landmarks) expect(float16ToNumber(bits)).toBe(value);
});

test('float16 grows strictly with its bits and is odd', () => {
  for (let bits = 1; bits <= 0x7c00; bits++) {
    if (!(float16ToNumber(bits) > float16ToNumber(bits - 1))) expect.unreachable(`at ${bits}`);
    if (float16ToNumber(bits | 0x8000) !== -float16ToNumber(bits)) expect.unreachable(`at ${bits}`);
  }
});
