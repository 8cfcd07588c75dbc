/** The wire format of protocol buffers, as far as event files need it: varints, doubles, floats, bytes. */

const utf8 = new TextEncoder();

/** Gathers the fields of one message; fields are written in the order of the calls. */
export class Message {
  readonly #parts: Uint8Array[] = [];
  #bytes = 0;

  /** A whole number from 0 to 2^53 - 1. */
  varint(field: number, value: number): this {
    return this.#key(field, 0).#put(varintBytes(value));
  }

  double(field: number, value: number): this {
    return this.#key(field, 1).#put(numbers(8, (view) => view.setFloat64(0, value, true)));
  }

  float(field: number, value: number): this {
    return this.#key(field, 5).#put(numbers(4, (view) => view.setFloat32(0, value, true)));
  }

  text(field: number, value: string): this {
    return this.#sized(field, utf8.encode(value));
  }

  message(field: number, value: Message): this {
    return this.#sized(field, value.bytes());
  }

  /** A repeated double, packed. */
  doubles(field: number, values: ArrayLike<number>): this {
    const write = (view: DataView) => {
      for (let i = 0; i < values.length; i++) view.setFloat64(8 * i, values[i], true);
    };
    return this.#sized(field, numbers(8 * values.length, write));
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.#bytes);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }

  #sized(field: number, value: Uint8Array): this {
    return this.#key(field, 2).#put(varintBytes(value.length)).#put(value);
  }

  #key(field: number, type: number): this {
    return this.#put(varintBytes(field * 8 + type));
  }

  #put(part: Uint8Array): this {
    this.#parts.push(part);
    this.#bytes += part.length;
    return this;
  }
}

function varintBytes(value: number): Uint8Array {
  const bytes: number[] = [];
  // Shifts work on 32 bits only; steps and sizes may be larger.
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

function numbers(length: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(length);
  write(new DataView(bytes.buffer));
  return bytes;
}
