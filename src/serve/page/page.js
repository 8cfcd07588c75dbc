// The page to try a model. Names and texts come from strangers: they only ever become text nodes.
const at = (id) => document.getElementById(id);
const signed = (x) => `${x < 0 ? '\u2212' : '+'}${Math.abs(x).toFixed(3)}`;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

let model;
let asked = 0;

async function call(path, init) {
  const response = await fetch(path, init);
  const body = await response.json();
  if (response.ok) return body;
  const lines = [`${body.title}: ${body.detail}`];
  if (body.expected) lines.push(`expected ${body.expected}`);
  if (body.hint) lines.push(body.hint);
  throw new Error(lines.join('\n'));
}

function show(problem) {
  at('problem').textContent = problem;
  at('problem').hidden = problem === '';
}

async function begin() {
  model = await call('model');
  const count = (n) => n.toLocaleString('en');
  at('facts').textContent =
    `${model.model} · ${count(model.labels)} labels · ${count(model.features)} features · ${model.output} output layer`;
  at('k').max = model.limits.k;
  for (const part of [at('rare'), ...at('rare').labels]) part.hidden = !model.rare;
  const fields = model.fields.length === 0 ? [{ name: 'features', kind: 'text' }] : model.fields;
  at('fields').replaceChildren(
    ...fields.flatMap(({ name, kind }, i) => {
      const id = `field-${i}`;
      const long = kind === 'text';
      const area = element(long ? 'textarea' : 'input', { id, name, spellcheck: false });
      if (kind === 'number') area.inputMode = 'decimal';
      if (model.fields.length === 0) area.placeholder = 'index:value index:value …';
      return [element('label', { htmlFor: id, textContent: name }), area];
    }),
  );
  at('fields').querySelector('textarea, input').focus();
}

/** What stands in the form as the body of a request. */
function question() {
  const areas = [...at('fields').querySelectorAll('textarea, input')];
  if (model.fields.length > 0) return { fields: Object.fromEntries(areas.map((a) => [a.name, a.value])) };
  const pairs = areas[0].value.trim().split(/\s+/).filter(Boolean);
  for (const pair of pairs) {
    if (!/^\d+:[-+.\deE]+$/.test(pair)) throw new Error(`“${pair.slice(0, 40)}” is not index:value`);
  }
  const [indices, values] = [0, 1].map((part) => pairs.map((pair) => Number(pair.split(':')[part])));
  return { features: { indices, values } };
}

async function predict() {
  const mine = ++asked;
  at('go').setAttribute('aria-busy', 'true');
  try {
    const body = question();
    const k = Number(at('k').value);
    const rare = Number(at('rare').value);
    const explain = Math.min(10, k);
    const { results } = await call('predict', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, k, rare, explain, evidence: 50 }),
    });
    if (mine !== asked) return;
    show('');
    showLabels(results[0], body.fields ?? {});
  } catch (error) {
    if (mine === asked) show(error.message);
  } finally {
    if (mine === asked) at('go').removeAttribute('aria-busy');
  }
}

function showLabels({ predictions, knownFeatures, explanations }, texts) {
  at('answer').hidden = false;
  at('why').hidden = true;
  at('remark').textContent =
    knownFeatures === 0
      ? 'The model knows nothing of this input: the answer says only how frequent labels are.'
      : `${knownFeatures} known features. Choose a label to see why.`;
  const scores = predictions.map(({ score }) => score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  at('labels').replaceChildren(
    ...predictions.map((prediction, i) => {
      const { name, score, probability } = prediction;
      const share = probability ?? (high > low ? (score - low) / (high - low) : 1);
      const bar = element('span', { className: 'bar' });
      bar.style.width = `${100 * share}%`;
      const figure = probability === null ? score.toFixed(3) : `${(100 * probability).toFixed(1)} %`;
      const why = explanations[i];
      const button = element(
        'button',
        { type: 'button', disabled: why === undefined },
        bar,
        element('span', { className: 'name', textContent: name }),
        element('span', { className: 'number', textContent: figure }),
      );
      button.setAttribute('aria-pressed', 'false');
      button.onclick = () => showWhy(why, texts, button);
      return element('li', {}, button);
    }),
  );
}

function showWhy(why, texts, button) {
  for (const other of at('labels').querySelectorAll('button')) other.setAttribute('aria-pressed', 'false');
  button.setAttribute('aria-pressed', 'true');
  at('why').hidden = false;
  at('why-title').textContent = `Why “${why.name}”`;
  const exact = why.method === 'exact' ? '' : ', to first order';
  const votes = why.votes === null ? '' : `, and ${signed(why.votes.contribution)} of remembered rows`;
  const byFeatures =
    why.featureVotes === null
      ? ''
      : `, and ${signed(why.featureVotes.contribution)} of those with most features in common`;
  const byWords = why.labelText
    ? `, and ${signed(why.labelText)} for a label that is called by words of the input`
    : '';
  const called = why.namesake
    ? `, and ${signed(why.namesake)} for a label that is called as the input is`
    : '';
  at('sum').textContent =
    `score ${why.score.toFixed(3)} = ${signed(why.base)} whatever the input says, and what its features add${exact}${votes}${byFeatures}${byWords}${called}`;
  showVotes('votes', why.votes?.rows ?? []);
  showVotes('feature-votes', why.featureVotes?.rows ?? []);
  const most = Math.max(...why.features.map(({ contribution }) => Math.abs(contribution)), 1e-12);
  at('marked').replaceChildren(...markedTexts(why, texts, most));
  at('features').tBodies[0].replaceChildren(
    ...why.features.slice(0, 15).map(({ name, feature, contribution }) => {
      const bar = element('i', { className: contribution < 0 ? 'against' : 'for' });
      bar.style.width = `${(100 * Math.abs(contribution)) / most}%`;
      return element(
        'tr',
        {},
        element('td', { textContent: name ?? `feature ${feature}` }),
        element('td', { className: 'number', textContent: signed(contribution) }),
        element('td', { className: 'share' }, bar),
      );
    }),
  );
  at('units').tBodies[0].replaceChildren(
    ...why.units
      .slice(0, 8)
      .map((unit) =>
        element(
          'tr',
          {},
          element('td', { textContent: String(unit.unit) }),
          ...[unit.activation.toFixed(3), signed(unit.weight), signed(unit.contribution)].map((textContent) =>
            element('td', { className: 'number', textContent }),
          ),
        ),
      ),
  );
  showNeighbours(why.label);
}

/** The remembered rows that vote for the label, by their strongest features. */
function showVotes(id, rows) {
  at(id).hidden = rows.length === 0;
  at(id)
    .querySelector('tbody')
    .replaceChildren(
      ...rows
        .slice(0, 5)
        .map(({ row, features, cosine, contribution }) =>
          element(
            'tr',
            {},
            element('td', { textContent: features?.join(' ') ?? `row ${row}` }),
            ...[cosine.toFixed(2), signed(contribution)].map((textContent) =>
              element('td', { className: 'number', textContent }),
            ),
          ),
        ),
    );
}

/** The texts, with every word that an explanation names marked as strongly as it weighs. */
function markedTexts({ highlights }, texts, most) {
  const parts = [];
  for (const [field, text] of Object.entries(texts)) {
    if (text === '' || model.fields.find(({ name }) => name === field)?.kind !== 'text') continue;
    if (model.fields.length > 1) parts.push(element('span', { className: 'field', textContent: field }));
    let done = 0;
    for (const { start, end, contribution } of highlights.filter((place) => place.field === field)) {
      parts.push(text.slice(done, start));
      const mark = element('mark', {
        className: contribution < 0 ? 'against' : 'for',
        textContent: text.slice(start, end),
        title: signed(contribution),
      });
      mark.style.setProperty('--strength', `${Math.round((45 * Math.abs(contribution)) / most)}%`);
      parts.push(mark);
      done = end;
    }
    parts.push(text.slice(done));
  }
  return parts;
}

async function showNeighbours(label) {
  const list = at('neighbours');
  list.replaceChildren();
  const mine = asked;
  try {
    const { neighbours } = await call(`label?id=${label}&top=8`);
    if (mine !== asked) return;
    list.replaceChildren(
      ...neighbours.map(({ name, cosine }) =>
        element(
          'li',
          {},
          element('span', { className: 'number', textContent: cosine.toFixed(2) }),
          element('span', { textContent: name }),
        ),
      ),
    );
  } catch (error) {
    list.replaceChildren(element('li', { textContent: error.message }));
  }
}

at('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  predict();
});
at('ask').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) predict();
});
at('rare').addEventListener('change', () => {
  if (!at('answer').hidden) predict();
});
// Up and down walk along the labels.
at('labels').addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step === undefined) return;
  const buttons = [...at('labels').querySelectorAll('button:not(:disabled)')];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (next === undefined) return;
  event.preventDefault();
  next.focus();
});
begin().catch((error) => show(error.message));
