/**
 * Structures of Thrift's compact protocol, walked before anybody believes them: every element must be there, and nothing is
 * kept but numbers. Thrift compact protocol specification.
 */
const DEPTH = 32;

/** A structure that was walked: where it ends, and its whole numbers, `3` of field 3, `5.1` of field 1 of a structure in 5; truths are 1 and 0. */
export interface Walked {
  readonly end: number;
  readonly numbers: ReadonlyMap<string, number>;
}

/** The structure at the beginning of `view`, every element of it met, nothing kept but numbers. */
export function walk(view: DataView): Walked {
  const numbers = new Map<string, number>();
  let at = 0;
  const byte = (): number => {
    if (at >= view.byteLength) throw new Error('a structure without its end');
    return view.getUint8(at++);
  };
  const varint = (most: number): number => {
    let value = 0;
    for (let i = 0; i < most; i++) {
      const part = byte();
      value += (part & 127) * 2 ** (7 * i);
      if (part < 128) return value;
    }
    throw new Error('a number of too many bytes');
  };
  const zigZag = (most: number): number => {
    const value = varint(most);
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  };
  const skip = (bytes: number): void => {
    if (bytes > view.byteLength - at)
      throw new Error(`${bytes} bytes where ${view.byteLength - at} are left`);
    at += bytes;
  };
  const element = (type: number, path: string, depth: number, inList: boolean): void => {
    switch (type) {
      case 1:
      case 2:
        // True and false: a field has no more than its head.
        if (!inList && depth <= 2) numbers.set(path, 2 - type);
        return;
      case 3:
        skip(1);
        return;
      case 4:
      case 5: {
        const value = zigZag(5);
        if (!inList && depth <= 2) numbers.set(path, value);
        return;
      }
      case 6:
        zigZag(10);
        return;
      case 7:
        skip(8);
        return;
      case 8:
        skip(varint(5));
        return;
      case 9: {
        const head = byte();
        const count = head >> 4 === 15 ? varint(5) : head >> 4;
        // Every element has a byte at least, or it is not there.
        if (count > view.byteLength - at)
          throw new Error(`a list of ${count} where ${view.byteLength - at} bytes are left`);
        if (depth > DEPTH) throw new Error('lists within lists');
        const kind = head & 15;
        // Truths, which as elements have a byte each.
        if (kind === 1 || kind === 2) skip(count);
        else for (let i = 0; i < count; i++) element(kind, path, depth + 1, true);
        return;
      }
      case 12:
        if (depth > DEPTH) throw new Error('structures within structures');
        structure(`${path}.`, depth + 1, inList);
        return;
      default:
        throw new Error(`a field of type ${type}`);
    }
  };
  const structure = (prefix: string, depth: number, inList: boolean): void => {
    for (let field = 0; ; ) {
      const head = byte();
      if ((head & 15) === 0) return;
      field = head >> 4 === 0 ? zigZag(3) : field + (head >> 4);
      element(head & 15, prefix + field, depth, inList);
    }
  };
  structure('', 1, false);
  return { end: at, numbers };
}
