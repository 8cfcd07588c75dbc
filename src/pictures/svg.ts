/** What the pictures share: a page, its texts, colours for light and dark. */

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

export const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => ENTITIES[c]);

export const place = (x: number): string => (Math.round(x * 10) / 10).toString();

const STYLE =
  'text{font:12px system-ui,sans-serif;fill:#222}.t{font-size:15px;font-weight:600}.g{stroke:#ccc}.b{fill:#fff}.f{fill:#0072b2}' +
  '@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#555}.b{fill:#181818}.f{fill:#56b4e9}}';

export interface TextHow {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly title?: boolean;
}

export function textAt(
  x: number,
  y: number,
  text: string,
  { anchor = 'start', title = false }: TextHow = {},
): string {
  const kind = title ? ' class="t"' : '';
  return `<text${kind} x="${place(x)}" y="${place(y)}" text-anchor="${anchor}">${escaped(text)}</text>`;
}

export function lineAt(x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="g" x1="${place(x1)}" y1="${place(y1)}" x2="${place(x2)}" y2="${place(y2)}"/>`;
}

export function boxAt(x: number, y: number, width: number, height: number, how = 'class="f"'): string {
  return `<rect ${how} x="${place(x)}" y="${place(y)}" width="${place(width)}" height="${place(height)}"/>`;
}

/** A whole picture with its title. */
export function page(title: string, width: number, height: number, parts: readonly string[]): string {
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">`;
  const ground = `<rect class="b" width="${width}" height="${height}"/>`;
  const lines = [
    head,
    `<style>${STYLE}</style>`,
    ground,
    textAt(16, 24, title, { title: true }),
    ...parts,
    '</svg>',
  ];
  return `${lines.join('\n')}\n`;
}
