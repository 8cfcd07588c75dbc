/** Counters, gauges and histograms in the text format that Prometheus reads (exposition format 0.0.4). */

type Labels = Readonly<Record<string, string | number>>;

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  lines(): Iterable<string>;
}

export class Registry {
  readonly #families: Family[] = [];

  counter(name: string, help: string): Counter {
    return this.#add(new Counter(name, help));
  }

  /** Read when metrics are asked for. */
  gauge(name: string, help: string, read: () => number | readonly (readonly [Labels, number])[]): void {
    this.#add(new Gauge(name, help, 'gauge', read));
  }

  /** A counter that somebody else keeps. */
  counted(name: string, help: string, read: () => number): void {
    this.#add(new Gauge(name, help, 'counter', read));
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#add(new Histogram(name, help, bounds));
  }

  text(): string {
    const out: string[] = [];
    for (const family of this.#families) {
      out.push(`# HELP ${family.name} ${family.help}`, `# TYPE ${family.name} ${family.type}`);
      out.push(...family.lines());
    }
    return `${out.join('\n')}\n`;
  }

  #add<F extends Family>(family: F): F {
    this.#families.push(family);
    return family;
  }
}

export class Counter implements Family {
  readonly type = 'counter';
  readonly #values = new Map<string, number>();

  constructor(
    readonly name: string,
    readonly help: string,
  ) {}

  add(labels: Labels): void {
    const key = labelText(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + 1);
  }

  *lines(): Generator<string> {
    for (const [key, value] of this.#values) yield `${this.name}${key} ${value}`;
  }
}

class Gauge implements Family {
  constructor(
    readonly name: string,
    readonly help: string,
    readonly type: 'gauge' | 'counter',
    readonly read: () => number | readonly (readonly [Labels, number])[],
  ) {}

  *lines(): Generator<string> {
    const found = this.read();
    if (typeof found === 'number') yield `${this.name} ${found}`;
    else for (const [labels, value] of found) yield `${this.name}${labelText(labels)} ${value}`;
  }
}

export class Histogram implements Family {
  readonly type = 'histogram';
  readonly #counts: Float64Array;
  #sum = 0;

  /** `bounds`: upper ends of the buckets, ascending; one without end is added. */
  constructor(
    readonly name: string,
    readonly help: string,
    readonly bounds: readonly number[],
  ) {
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let at = 0;
    while (at < this.bounds.length && value > this.bounds[at]) at++;
    this.#counts[at]++;
    this.#sum += value;
  }

  *lines(): Generator<string> {
    let below = 0;
    for (let i = 0; i <= this.bounds.length; i++) {
      below += this.#counts[i];
      yield `${this.name}_bucket{le="${this.bounds[i] ?? '+Inf'}"} ${below}`;
    }
    yield `${this.name}_sum ${this.#sum}`;
    yield `${this.name}_count ${below}`;
  }
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) =>
      `${name}="${String(value).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
