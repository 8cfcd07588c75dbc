/** One of a few: buttons in a row, and the cutoffs k of scores as such buttons. */
import { useMemo, useState } from 'preact/hooks';

export function Segments<T extends string>(props: {
  readonly name: string;
  readonly title: string;
  readonly options: readonly T[];
  readonly value: T;
  readonly onChange: (value: T) => void;
}) {
  return (
    <fieldset class="segments">
      <legend>{props.title}</legend>
      {props.options.map((option) => (
        <label key={option}>
          <input
            type="radio"
            name={props.name}
            checked={option === props.value}
            onChange={() => props.onChange(option)}
          />
          <span>{option}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** The cutoff that is shown of those that scores have, and the buttons to choose another where there are several. */
export function useCutoff(name: string, wanted: string, found: () => readonly string[], of: unknown) {
  const cutoffs = useMemo(() => [...new Set(found())].sort((a, b) => Number(a) - Number(b)), [of]);
  const [k, setK] = useState(wanted);
  const cutoff = cutoffs.includes(k) ? k : undefined;
  const choice = (value: string) =>
    cutoffs.length > 1 && (
      <Segments name={name} title="At k" options={cutoffs} value={value} onChange={setK} />
    );
  return { cutoffs, cutoff, choice };
}
