/** What the parts of the page are framed in. */
import type { ComponentChildren } from 'preact';
import './charts.css';

/** A picture or table with its title, what it is in, and perhaps what stands at the right of them. */
export function Chart(props: {
  readonly title: string;
  readonly unit?: string;
  readonly aside?: ComponentChildren;
  readonly children: ComponentChildren;
}) {
  return (
    <figure class="chart">
      <figcaption>
        <span class="title">{props.title}</span>
        {props.unit !== undefined && (
          <>
            {' '}
            <span class="unit">{props.unit}</span>
          </>
        )}
        {props.aside}
      </figcaption>
      {props.children}
    </figure>
  );
}

/** A chart with nothing in it, and why. */
export function EmptyChart({ title, children }: { readonly title: string; readonly children: string }) {
  return (
    <Chart title={title}>
      <p class="empty">{children}</p>
    </Chart>
  );
}

/** Scrolls what is wider than the page, by keyboard too. */
export function Scroll({ name, children }: { readonly name: string; readonly children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table scrolls by keyboard
    // biome-ignore lint/a11y/useSemanticElements: a region that scrolls
    <div class="scroll" tabIndex={0} role="region" aria-label={name}>
      {children}
    </div>
  );
}
