'use strict';

// All content is in the data block. Nothing is fetched, and text is only inserted as text, never as HTML.
const data = JSON.parse(document.getElementById('data').textContent, (_, value) => (value === 'Infinity' ? Infinity : value));
const $ = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (key.startsWith('--')) element.style.setProperty(key, value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}
const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

/** Text in which `words` between backticks are code. */
const prose = (text) => text.split('`').map((part, k) => (k % 2 ? make('code', {}, part) : part));
const metricOf = (name) => data.about.metrics[name] ?? data.about.metrics[name.split('_')[0]];
const unit = (metric) => (metricOf(metric).unit ? ` ${metricOf(metric).unit}` : '');
const where = (bucket) => (bucket === 'all' ? 'all holes' : /^\d/.test(bucket) ? `${bucket.replace('-', '–')} %` : bucket);
const fixed = (value, decimals) => value.toFixed(decimals).replace('-', '−').replace('Infinity', '∞');
const signed = (value, decimals) => (value > 0 ? '+' : '') + fixed(value, decimals);
const interval = (low, high, print) => (low === undefined || low === null ? 'no interval' : `${print(low)} to ${print(high)}`);

// What intervals and p answer: images for the trained weights, or trainings and images for the methods.
const questions = { weights: 'these weights', method: 'these methods' };
let question = 'weights';
const redraws = []; // called when the question changes
const ends = (cell) => (question === 'method' ? cell.method : cell.low === undefined ? undefined : [cell.low, cell.high]);
const span = ([low, high]) => (low === high ? `${low}` : `${low}–${high}`);

function option(name, value, checked, ...content) {
  const input = make('input', { type: 'radio', name, value, checked });
  return make('label', { class: 'option' }, input, ...content);
}

function absent(section, matches) {
  const flag = data.about.results === 'results' ? '' : ' with this run’s --configfile';
  for (const { part, target } of data.missing.filter(({ part }) => matches.test(part))) {
    const command = make('code', {}, `snakemake --cores all ${data.about.results}/${target}`);
    section.append(make('p', { class: 'absent' }, `${part}: not made yet. `, command, `${flag} makes it.`));
  }
}

// ------------------------------------------------------------------------------------------------------------------
// The tooltip: only one at a time, beside its element

const tip = $('tip');
function tell(box, heading, lines) {
  tip.replaceChildren(make('b', {}, heading), ...lines.map((line) => make('span', {}, line)));
  tip.hidden = false;
  const width = document.documentElement.clientWidth;
  const left = Math.max(8, Math.min(box.left + box.width / 2 - tip.offsetWidth / 2, width - tip.offsetWidth - 8));
  const above = box.top - tip.offsetHeight - 6;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(above < 4 ? box.bottom + 6 : above) + scrollY}px`;
}
const hush = () => { tip.hidden = true; };
addEventListener('keydown', (event) => { if (event.key === 'Escape') hush(); });

// ------------------------------------------------------------------------------------------------------------------
// Tables: one tab stop each; arrow keys move among the cells, a column's name sorts

/** Make a table's first column and every column sortable, and its cells reachable by arrow keys. */
function sortable(table, comparators) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const buttons = [...table.tHead.querySelectorAll('button')];
  const lines = () => [buttons, ...[...body.rows].filter((row) => !row.hidden).map((row) => [...row.cells])];

  function sort(column) {
    const head = buttons[column].closest('th');
    const better = head.getAttribute('aria-sort') === 'none' || column === 0;
    const [first, second] = head.dataset.first === 'ascending' ? ['ascending', 'descending'] : ['descending', 'ascending'];
    const direction = better ? first : head.getAttribute('aria-sort') === first ? second : first;
    for (const button of buttons) button.closest('th').setAttribute('aria-sort', 'none');
    const sign = direction === 'ascending' ? 1 : -1;
    const rows = [...original];
    if (column > 0) {
      head.setAttribute('aria-sort', direction);
      rows.sort((x, y) => comparators[column](x, y, sign));
    }
    table.classList.toggle('sorted', column > 0);
    body.append(...rows);
  }

  function move(to) {
    for (const cell of table.querySelectorAll('[tabindex="0"]')) cell.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
    to.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -1e9], End: [0, 1e9] };
  table.addEventListener('keydown', (event) => {
    const step = steps[event.key];
    if (!step) return;
    const grid = lines();
    const row = grid.findIndex((line) => line.includes(event.target));
    if (row < 0) return;
    event.preventDefault();
    const bound = (value, length) => Math.max(0, Math.min(length - 1, value));
    const line = grid[bound(row + step[0], grid.length)];
    move(line[bound(grid[row].indexOf(event.target) + step[1], line.length)]);
  });
  buttons.forEach((button, column) => button.addEventListener('click', () => sort(column)));
  for (const button of buttons) button.tabIndex = -1;
  for (const cell of body.querySelectorAll('th, td')) cell.tabIndex = -1;
  buttons[0].tabIndex = 0;
  return sort;
}

/** Compare by number; rows without one are always last. */
const byNumber = (read) => (x, y, sign) => {
  const [a, b] = [read(x), read(y)];
  const [lacksA, lacksB] = [a, b].map((value) => value === undefined || value === null);
  return lacksA || lacksB ? lacksA - lacksB : a === b ? 0 : sign * (a < b ? -1 : 1);
};

function qualityTable(table) {
  const list = make('div', { class: 'scroll' });
  const region = make('select', { 'aria-label': `Region over which ${table.title} is measured` });
  const regions = { '': 'whole image', _hole: 'hole only', _raw: 'whole image, not composited' };
  for (const part of table.regions) region.append(make('option', { value: part }, regions[part]));
  const render = () => list.replaceChildren(grid(table, region.value));
  region.addEventListener('change', render);
  redraws.push(render);
  render();
  const heading = make('h3', {}, table.title, table.claim ? make('small', {}, `claims: ${table.claim}`) : undefined);
  const choice = table.regions.length ? make('label', {}, 'Measured over ', region) : undefined;
  const notes = make('ul', {}, ...table.notes.map((note) => make('li', {}, ...prose(note))));
  const terms = make('details', {}, make('summary', {}, 'Data, training, metrics'), notes);
  return make('div', { class: 'block', id: `table-${table.name}` }, make('header', {}, heading, choice), list, terms);
}

function grid(table, region) {
  const has = (key) => table.rows.some((row) => row.cells[key]?.text !== undefined);
  const columns = table.buckets
    .flatMap((bucket) => table.metrics.map((metric) => ({ bucket, metric: metric + region, key: `${bucket} ${metric}${region}` })))
    .filter(({ key }) => has(key) || !region);
  const spans = make('tr', {}, make('td'));
  for (const bucket of table.buckets) {
    const width = columns.filter((column) => column.bucket === bucket).length;
    spans.append(make('th', { colspan: width, scope: 'colgroup', class: 'span' }, where(bucket)));
  }
  const starts = (k) => k > 0 && columns[k].bucket !== columns[k - 1].bucket;
  const heads = make('tr', {}, make('th', { scope: 'col', 'aria-sort': 'none' }, make('button', { type: 'button', title: 'The paper’s order' }, 'Method')));
  columns.forEach(({ bucket, metric }, k) => {
    const { name, higher } = metricOf(metric);
    const button = make('button', { type: 'button', 'aria-label': `${name}, ${where(bucket)}, ${higher ? 'higher' : 'lower'} is better: sort` }, `${name}\u00a0${higher ? '↑' : '↓'}`);
    heads.append(make('th', { scope: 'col', 'aria-sort': 'none', class: starts(k) && 'first', 'data-first': higher ? 'descending' : 'ascending' }, button));
  });

  const scales = columns.map(({ key }) => scale(table, key));
  const rows = new Map();
  table.rows.forEach((row, place) => {
    const turn = place > 0 && row.group !== table.rows[place - 1].group;
    const line = make('tr', { class: `${row.group}${turn ? ' turn' : ''}` }, make('th', { scope: 'row' }, row.label));
    columns.forEach(({ key }, k) => line.append(cellOf(row.cells[key] ?? {}, scales[k], starts(k))));
    rows.set(line, row);
  });
  const element = make('table', { class: 'grid', role: 'grid', 'aria-label': table.title, '--columns': columns.length },
    make('thead', {}, spans, heads), make('tbody', {}, ...rows.keys()));
  sortable(element, [undefined, ...columns.map(({ key }) => byNumber((line) => rows.get(line).cells[key]?.value))]);

  for (const type of ['mouseover', 'focusin', 'click']) {
    element.addEventListener(type, (event) => {
      const cell = event.target.closest('tbody td');
      if (!cell) return hush();
      element.querySelector('[aria-describedby]')?.removeAttribute('aria-describedby');
      cell.setAttribute('aria-describedby', 'tip');
      return tell(cell.getBoundingClientRect(), ...terms(table, rows.get(cell.parentElement), columns[cell.cellIndex - 1]));
    });
  }
  for (const type of ['mouseleave', 'focusout']) element.addEventListener(type, hush);
  return element;
}

/** The range of a column's intervals; controls stretch it only where fewer than two methods compete. */
function scale(table, key) {
  const rows = table.rows.filter((row) => row.cells[key] && ends(row.cells[key]));
  const competing = rows.filter((row) => row.group !== 'control');
  const cells = (competing.length > 1 ? competing : rows).map((row) => row.cells[key]);
  const seen = cells.flatMap((cell) => [...ends(cell), ...(cell.seeds ?? [])]);
  const [low, high] = [Math.min(...seen), Math.max(...seen)];
  return (value) => Math.max(0, Math.min(1, (value - low) / (high - low || 1)));
}

function cellOf(cell, place, first) {
  const element = make('td', { class: [cell.lead, first && 'first'].filter(Boolean).join(' ') });
  element.append(make('span', { class: 'value' }, cell.text ?? '–'));
  if (ends(cell)) {
    const [low, high] = ends(cell).map((end) => place(end).toFixed(4));
    const dots = (cell.seeds ?? []).map((mean) => make('b', { '--at': place(mean).toFixed(4) }));
    element.append(make('span', { class: 'interval', 'aria-hidden': 'true' }, make('i', { '--low': low, '--high': high }), ...dots));
  }
  if (question === 'method' && cell.rank) element.append(make('span', { class: 'claim' }, `rank ${span(cell.rank)}`));
  if (cell.claim) element.append(make('span', { class: 'claim' }, make('span', { class: 'unseen' }, 'paper: '), cell.claim));
  return element;
}

/** Whether a method has the best mean among those that compete. */
function isFirst(table, row, key) {
  const sign = metricOf(key.split(' ')[1]).higher ? 1 : -1;
  const rivals = table.rows.filter((other) => other.cells[key]?.rank);
  return rivals.every((other) => sign * other.cells[key].value <= sign * row.cells[key].value);
}

function terms(table, row, { bucket, metric, key }) {
  const cell = row.cells[key] ?? {};
  const { name, decimals } = metricOf(metric);
  const lines = [];
  if (cell.text === undefined) lines.push(row.reason || 'not measured');
  else {
    const print = (v) => fixed(v, decimals + 1);
    lines.push(`${cell.text}${unit(metric)}, 95 % interval of these weights ${interval(cell.low, cell.high, print)}`);
    if (cell.method) lines.push(`of this method, other ${row.unit === 'seed' ? 'training' : 'sample'}s included: ${interval(...cell.method, print)}`);
    if (cell.seeds) lines.push(`by ${row.unit}: ${cell.seeds.map(print).join(', ')}`);
    if (cell.rank) lines.push(`rank ${span(cell.rank)} (95 %)`);
    if (cell.chances) {
      const [better, equivalent, worse] = cell.chances.map((value) => `${Math.round(100 * value)} %`);
      const rival = cell.rank?.[0] === 1 && isFirst(table, row, key) ? 'the second' : 'the best';
      lines.push(`against ${rival}: better ${better}, equivalent ${equivalent}, worse ${worse}`);
    }
    const clusters = cell.clusters < cell.n ? ` in ${cell.clusters} cluster${cell.clusters === 1 ? '' : 's'}` : '';
    const runs = row.seeds > 1 ? `, ${row.seeds} ${row.unit}s` : row.unit === 'seed' ? ', 1 seed' : '';
    lines.push(`n = ${cell.n} images${clusters}${runs}`);
  }
  if (row.parameters) lines.push(`${row.parameters.toLocaleString('en')} trainable parameters`);
  if (row.operations) lines.push(`training: ${(row.operations / 1e12).toPrecision(3)} · 10¹² operations`);
  if (cell.claim) lines.push(`the paper claims ${cell.claim}${unit(metric)}`);
  if (cell.lead) lines.push(cell.lead === 'best' ? 'better than every other method, by a paired test and beyond what another training seed changes' : 'tied for the best');
  return [`${row.label}: ${name}, ${where(bucket)}`, lines];
}

// ------------------------------------------------------------------------------------------------------------------
// Claims

const VERDICTS = {
  holds: 'holds', 'does not hold': 'fails', undecided: 'open', 'not run': 'open', 'contradicted by the paper': 'open',
};

function claims(section) {
  const { rows, notes } = data.claims;
  const measure = $('claimed');
  measure.append(make('option', { value: '' }, 'PSNR and mIoU'), make('option', { value: 'all' }, 'all measures'));
  const headings = ['Claim', 'Holes', 'Measure', 'Verdict', 'Claimed', 'Measured', '95 % interval', '', 'p (Holm)', 'n', 'Table'];
  const plain = new Set(['Claim', 'Holes', 'Measure', 'Verdict', '']);
  const heads = make('tr');
  for (const text of headings) {
    const named = text ? make('button', { type: 'button' }, text) : make('span', { class: 'unseen' }, 'drawn');
    heads.append(make('th', { scope: 'col', 'aria-sort': text && 'none', class: plain.has(text) && 'plain', 'data-first': plain.has(text) || text.startsWith('p ') ? 'ascending' : 'descending' }, named));
  }
  const ranges = {};
  for (const row of rows) {
    const seen = [row.claimed, row.low, row.high, row.method_low, row.method_high].filter((value) => value !== null);
    const [low, high] = ranges[row.metric] ?? [0, 0];
    ranges[row.metric] = [Math.min(low, ...seen), Math.max(high, ...seen)];
  }
  const ordering = (row) => [row.table, row.better, row.worse].join();
  const pairs = new Map();  // ordering -> the pairs of methods that represent it
  for (const row of rows) pairs.set(ordering(row), (pairs.get(ordering(row)) ?? new Set()).add(`${row.method}, ${row.against}`));
  const named = (row) => (pairs.get(ordering(row)).size > 1 ? `${row.method || '–'}, ${row.against || '–'}${row.equal && `, equal ${row.equal}`}` : '');
  const lines = new Map(rows.map((row) => [claimLine(row, named(row), ranges[row.metric], plain, headings), row]));
  const table = make('table', { class: 'grid', role: 'grid', 'aria-label': 'The paper’s orderings' }, make('thead', {}, heads), make('tbody', {}, ...lines.keys()));
  const text = (column) => (x, y, sign) => sign * x.cells[column].textContent.localeCompare(y.cells[column].textContent, 'en', { numeric: true });
  const number = (key) => byNumber((line) => lines.get(line)[key]);
  sortable(table, [undefined, text(1), text(2), text(3), number('claimed'), number('difference'), number('low'), number('adjusted_p'), number('n'), text(10)]);
  section.append(make('div', { class: 'scroll' }, table), make('details', {}, make('summary', {}, 'How a claim is judged'), make('ul', {}, ...notes.map((note) => make('li', {}, ...prose(note))))));

  function show() {
    const verdict = $('verdicts').querySelector(':checked').value;
    const counts = {};
    for (const [line, row] of lines) {
      const measured = measure.value || ['psnr', 'miou'].includes(row.metric);
      if (measured) counts[row.verdict] = (counts[row.verdict] ?? 0) + 1;
      line.hidden = !measured || (verdict !== 'all' && row.verdict !== verdict);
    }
    for (const [name, badge] of badges) badge.textContent = `${name} ${counts[name] ?? 0}`;
  }
  redraws.push(() => { for (const [line, row] of lines) answer(line, row, ranges[row.metric]); });
  const badges = new Map(Object.keys(VERDICTS).map((name) => [name, make('span')]));
  $('verdicts').append(option('verdict', 'all', true, make('span', {}, 'all')));
  for (const [name, badge] of badges) $('verdicts').append(option('verdict', name, false, badge));
  for (const control of [$('verdicts'), measure]) control.addEventListener('change', show);
  show();
}

/** What a claim's line answers to the question: the interval's ends, and the corrected p. */
const answers = (row) => (question === 'method' ? [row.method_low, row.method_high, row.method_p] : [row.low, row.high, row.adjusted_p]);
const range = (row, low, high) => (row.n > 0 && low !== null ? `[${[low, high].map((end) => signed(end, metricOf(row.metric).decimals)).join(', ')}]` : '–');

/** Show a claim's interval, plot and p for the current question. */
function answer(line, row, bounds) {
  const [low, high, p] = answers(row);
  line.cells[6].textContent = range(row, low, high);
  line.cells[7].replaceChildren(claimPlot(row, bounds));
  line.cells[8].textContent = p === null ? '–' : p.toFixed(4);
}

function claimPlot(row, [low, high]) {
  const [from, to] = answers(row);
  const run = row.n > 0;
  const at = (value) => 8 + (128 * (value - low)) / (high - low || 1);
  const plot = draw('svg', { class: 'plot', viewBox: '0 0 144 16', 'aria-hidden': 'true' }, draw('path', { class: 'axis', d: `M${at(0)} 0V16` }));
  if (row.claimed !== null) {
    const x = at(row.claimed);
    plot.append(draw('path', { class: 'diamond', d: `M${x} 3L${x + 5} 8L${x} 13L${x - 5} 8Z` }));
  }
  if (run && from !== null) plot.append(draw('path', { class: 'whisker', d: `M${at(from)} 8H${at(to)}` }));
  if (run) plot.append(draw('circle', { class: 'dot', cx: at(row.difference), cy: 8, r: 3 }));
  return plot;
}

function claimLine(row, methods, bounds, plain, headings) {
  const { name, decimals } = metricOf(row.metric);
  const number = (value) => (value === null ? '–' : signed(value, decimals));
  const values = [
    where(row.bucket), name, make('span', { class: `verdict ${VERDICTS[row.verdict]}`, title: row.reason || undefined }, row.verdict), number(row.claimed),
    row.n > 0 ? number(row.difference) : '–', '', '', '', row.n || '–', row.table.replace(/^table(?=\d+$)/, ''),
  ];
  const cells = values.map((value, k) => make('td', { class: plain.has(headings[k + 1]) && 'plain' }, value));
  const line = make('tr', {}, make('th', { scope: 'row' }, `${row.better} > ${row.worse}`, methods ? make('small', {}, ` (${methods})`) : undefined), ...cells);
  answer(line, row, bounds);
  return line;
}

