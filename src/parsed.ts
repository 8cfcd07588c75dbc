/** Files of JSON with a known shape. */
import type { z } from 'zod';

/** What `text` holds, as `schema` says; `refuse` makes the error of what does not fit, which names the place. */
export function parsedJson<T>(schema: z.ZodType<T>, text: string, refuse: (detail: string) => Error): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse('it is not JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw refuse(`${path.join('.') || 'the whole'}: ${message}`);
}
