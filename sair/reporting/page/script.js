'use strict';

// Everything that is said stands in the data block; nothing is fetched, and text is only ever set as text.
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
const where = (bucket) => (bucket === 'all' ? 'all holes' : `${bucket.replace('-', '–')} %`);
const fixed = (value, decimals) => value.toFixed(decimals).replace('-', '−').replace('Infinity', '∞');
const signed = (value, decimals) => (value > 0 ? '+' : '') + fixed(value, decimals);
const interval = (low, high, print) => (low === undefined || low === null ? 'no interval' : `${print(low)} to ${print(high)}`);

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
// The tip: one at a time, beside what it is about

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

/** By number, with rows that have none always last. */
const byNumber = (read) => (x, y, sign) => {
  const [a, b] = [read(x), read(y)];
  const [lacksA, lacksB] = [a, b].map((value) => value === undefined || value === null);
  return lacksA || lacksB ? lacksA - lacksB : a === b ? 0 : sign * (a < b ? -1 : 1);
};

function qualityTable(table) {
  const list = make('div', { class: 'scroll' });
  const region = make('select', { 'aria-label': `What ${table.title} is measured over` });
  const regions = { '': 'whole image', _hole: 'hole only', _raw: 'whole image, not composited' };
  for (const part of table.regions) region.append(make('option', { value: part }, regions[part]));
  const render = () => list.replaceChildren(grid(table, region.value));
  region.addEventListener('change', render);
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
  const rows = table.rows.filter((row) => row.cells[key]?.low !== undefined);
  const competing = rows.filter((row) => row.group !== 'control');
  const cells = (competing.length > 1 ? competing : rows).map((row) => row.cells[key]);
  const [low, high] = [Math.min(...cells.map((cell) => cell.low)), Math.max(...cells.map((cell) => cell.high))];
  return (value) => Math.max(0, Math.min(1, (value - low) / (high - low || 1)));
}

function cellOf(cell, place, first) {
  const element = make('td', { class: [cell.lead, first && 'first'].filter(Boolean).join(' ') });
  element.append(make('span', { class: 'value' }, cell.text ?? '–'));
  if (cell.low !== undefined) {
    const bar = make('i', { '--low': place(cell.low).toFixed(4), '--high': place(cell.high).toFixed(4) });
    element.append(make('span', { class: 'interval', 'aria-hidden': 'true' }, bar));
  }
  if (cell.claim) element.append(make('span', { class: 'claim' }, make('span', { class: 'unseen' }, 'paper: '), cell.claim));
  return element;
}

function terms(table, row, { bucket, metric, key }) {
  const cell = row.cells[key] ?? {};
  const { name, decimals } = metricOf(metric);
  const lines = [];
  if (cell.text === undefined) lines.push(row.reason || 'not measured');
  else {
    lines.push(`${cell.text}${unit(metric)}, 95 % interval ${interval(cell.low, cell.high, (v) => fixed(v, decimals + 1))}`);
    const clusters = cell.clusters < cell.n ? ` in ${cell.clusters} cluster${cell.clusters === 1 ? '' : 's'}` : '';
    lines.push(`n = ${cell.n} images${clusters}, ${row.seeds} seed${row.seeds === 1 ? '' : 's'}`);
  }
  if (cell.claim) lines.push(`the paper claims ${cell.claim}${unit(metric)}`);
  if (cell.lead) lines.push(cell.lead === 'best' ? 'better than every other method: paired test, and more than the seed moves' : 'tied for the best');
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
    const seen = [row.claimed, row.low, row.high].filter((value) => value !== null);
    const [low, high] = ranges[row.metric] ?? [0, 0];
    ranges[row.metric] = [Math.min(low, ...seen), Math.max(high, ...seen)];
  }
  const lines = new Map(rows.map((row) => [claimLine(row, ranges[row.metric], plain, headings), row]));
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
  const badges = new Map(Object.keys(VERDICTS).map((name) => [name, make('span')]));
  $('verdicts').append(option('verdict', 'all', true, make('span', {}, 'all')));
  for (const [name, badge] of badges) $('verdicts').append(option('verdict', name, false, badge));
  for (const control of [$('verdicts'), measure]) control.addEventListener('change', show);
  show();
}

function claimLine(row, [low, high], plain, headings) {
  const { name, decimals } = metricOf(row.metric);
  const number = (value) => (value === null ? '–' : signed(value, decimals));
  const run = row.n > 0;
  const at = (value) => 8 + (128 * (value - low)) / (high - low || 1);
  const plot = draw('svg', { class: 'plot', viewBox: '0 0 144 16', 'aria-hidden': 'true' }, draw('path', { class: 'axis', d: `M${at(0)} 0V16` }));
  if (row.claimed !== null) {
    const x = at(row.claimed);
    plot.append(draw('path', { class: 'diamond', d: `M${x} 3L${x + 5} 8L${x} 13L${x - 5} 8Z` }));
  }
  if (run && row.low !== null) plot.append(draw('path', { class: 'whisker', d: `M${at(row.low)} 8H${at(row.high)}` }));
  if (run) plot.append(draw('circle', { class: 'dot', cx: at(row.difference), cy: 8, r: 3 }));
  const values = [
    where(row.bucket), name, make('span', { class: `verdict ${VERDICTS[row.verdict]}`, title: row.reason || undefined }, row.verdict), number(row.claimed),
    run ? number(row.difference) : '–', run && row.low !== null ? `[${number(row.low)}, ${number(row.high)}]` : '–', plot,
    row.adjusted_p !== null ? row.adjusted_p.toFixed(4) : '–', row.n || '–', row.table.replace(/^table(?=\d+$)/, ''),
  ];
  const cells = values.map((value, k) => make('td', { class: plain.has(headings[k + 1]) && 'plain' }, value));
  return make('tr', {}, make('th', { scope: 'row' }, `${row.better} > ${row.worse}`), ...cells);
}

// ------------------------------------------------------------------------------------------------------------------
// Gallery

const TRUTH = '(truth)';
const MASKED = '(masked)';

function gallery() {
  const { methods, buckets, ids, ratios, scores, images, seed } = data.gallery;
  const label = { [TRUTH]: 'Ground truth', [MASKED]: 'Masked input', ...Object.fromEntries(methods.map(({ name, label }) => [name, label])) };
  const metrics = Object.keys(scores[methods[0].name][buckets[0]]);
  const decoded = new Map();
  let image = images[0];
  let turn = 0;

  const half = Math.ceil(images.length / 2);
  const which = images.length === ids.length ? `all ${ids.length} test images`
    : `${images.length} of ${ids.length} test images: the ${half} on which the methods differ most, and others spread evenly`;
  $('shown').textContent = `Choose two methods, a hole size and an image, and drag the line between them. Here are ${which}. Images and numbers are of seed ${seed}; only holes were filled, all else is the ground truth.`;

  // Controls
  const competing = methods.filter(({ control }) => !control).map(({ name }) => name);
  const start = ['sair', 'liif'].every((name) => name in label) ? ['liif', 'sair'] : [competing[0] ?? methods[0].name, competing[1] ?? TRUTH];
  for (const [side, first] of [['left', start[0]], ['right', start[1]]]) {
    for (const name of [...methods.map((method) => method.name), MASKED, TRUTH]) $(side).append(make('option', { value: name, selected: name === first }, label[name]));
  }
  buckets.forEach((bucket, k) => $('buckets').append(option('bucket', bucket, k === buckets.length - 1, make('span', {}, where(bucket)))));
  for (const metric of metrics) $('measure').append(make('option', { value: metric }, metricOf(metric).name));

  const state = () => ({ left: $('left').value, right: $('right').value, bucket: $('buckets').querySelector(':checked').value, metric: $('measure').value, order: $('order').value });
  const score = (name, bucket, metric, k) => (name in scores ? scores[name][bucket][metric][k] : undefined);

  /** How much better left is than right on an image, in the metric's units; undefined where one has no score. */
  function advantage({ left, right, bucket, metric }, k) {
    const values = [left, right].map((name) => score(name, bucket, metric, k));
    if (values.some((value) => value === undefined || value === null)) return undefined;
    // As in the tables, an infinite value counts as a finite one, or a single image would decide every mean.
    const cap = metricOf(metric).cap ?? Infinity;
    const [a, b] = values.map((value) => (value > cap ? cap : value));
    return a === b ? 0 : metricOf(metric).higher ? a - b : b - a;
  }

  // Images
  async function decode(uri) {
    if (!decoded.has(uri)) {
      const element = new Image();
      element.src = uri;
      decoded.set(uri, element.decode().then(() => element));
    }
    return decoded.get(uri);
  }

  /** Layers of what a side shows: the ground truth, and over it what is in the hole. */
  function layers(shown, name, bucket) {
    const { hole, of } = shown.holes[bucket];
    const top = name === MASKED ? [hole] : name === TRUTH ? [] : [of[name]];
    return Promise.all([shown.truth, ...top].map(decode));
  }

  function paint(canvas, layer) {
    canvas.width = layer[0].naturalWidth;
    canvas.height = layer[0].naturalHeight;
    const context = canvas.getContext('2d');
    for (const one of layer) context.drawImage(one, 0, 0);
  }

  /** |left - right|, four times as bright: drawn by blending, so that no pixel has to be read. */
  function paintDifference(canvas, one, other) {
    paint(canvas, [...one]);
    const context = canvas.getContext('2d');
    const second = make('canvas');
    paint(second, other);
    context.globalCompositeOperation = 'difference';
    context.drawImage(second, 0, 0);
    context.globalCompositeOperation = 'lighter';
    for (let doubling = 0; doubling < 2; doubling += 1) context.drawImage(canvas, 0, 0);
  }

  /** The hole's outer edge, two screen pixels wide whatever the image's size. */
  function paintOutline(canvas, hole) {
    const times = Math.max(1, Math.round(960 / hole.naturalWidth));
    canvas.width = hole.naturalWidth * times;
    canvas.height = hole.naturalHeight * times;
    const context = canvas.getContext('2d');
    context.imageSmoothingEnabled = false;
    const at = (x, y) => context.drawImage(hole, x, y, canvas.width, canvas.height);
    for (const x of [-4, 0, 4]) for (const y of [-4, 0, 4]) at(x, y);
    context.globalCompositeOperation = 'destination-out';
    at(0, 0);
    context.globalCompositeOperation = 'source-in';
    context.fillStyle = '#ffd84d';
    context.fillRect(0, 0, canvas.width, canvas.height);
  }

  async function stage(now) {
    const mine = (turn += 1);
    const [one, other, hole] = await Promise.all([layers(image, now.left, now.bucket), layers(image, now.right, now.bucket), decode(image.holes[now.bucket].hole)]);
    if (mine !== turn) return; // something else was chosen while these were decoded
    paint($('over'), one);
    paint($('under'), other);
    paintDifference($('difference'), one, other);
    paintOutline($('outline'), hole);
    $('stage').style.aspectRatio = `${one[0].naturalWidth} / ${one[0].naturalHeight}`;
    $('stage').classList.toggle('pixels', one[0].naturalWidth < 200);
    $('stage').dataset.shown = `${image.id} ${now.bucket} ${now.left} ${now.right}`;
    $('over').setAttribute('aria-label', `${label[now.left]}: ${image.caption || image.id}`);
    $('under').setAttribute('aria-label', `${label[now.right]}: ${image.caption || image.id}`);
    $('difference').setAttribute('aria-label', `Difference of ${label[now.left]} and ${label[now.right]}`);
  }

  // Numbers
  function pair(now) {
    const k = ids.indexOf(image.id);
    const head = make('tr', {}, make('th'), make('th', { scope: 'col', class: 'a' }, label[now.left]), make('th', { scope: 'col', class: 'b' }, label[now.right]), make('th', { scope: 'col' }, 'left − right'));
    const rows = metrics.map((metric) => {
      const { name, decimals, higher } = metricOf(metric);
      const gain = advantage({ ...now, metric }, k);
      const cells = ['left', 'right'].map((side) => {
        const value = score(now[side], now.bucket, metric, k);
        const better = gain !== undefined && (side === 'left' ? gain > 0 : gain < 0);
        return make('td', { class: better && 'better' }, value === undefined || value === null ? '–' : fixed(value, decimals));
      });
      const difference = gain === undefined ? '–' : signed(higher ? gain : -gain, decimals);
      return make('tr', {}, make('th', { scope: 'row' }, `${name} ${higher ? '↑' : '↓'}`), ...cells, make('td', { class: gain > 0 ? 'a' : gain < 0 ? 'b' : '' }, difference));
    });
    $('pair').replaceChildren(make('caption', { class: 'unseen' }, 'Scores of this image'), make('thead', {}, head), make('tbody', {}, ...rows));
    $('image').textContent = `${image.id}, ${fixed(ratios[now.bucket][k], 1)} % hole`;
    $('caption').textContent = image.caption;
  }

  /** Every test image's difference, from where left is better most to where right is. */
  function strip(now) {
    const { name, decimals, higher } = metricOf(now.metric);
    const values = ids.map((id, k) => ({ id, gain: advantage(now, k) })).filter(({ gain }) => gain !== undefined).sort((x, y) => y.gain - x.gain);
    $('spread').hidden = values.length === 0;
    if (!values.length) return;
    const finite = values.map(({ gain }) => gain).filter(Number.isFinite);
    const [top, bottom] = [Math.max(0, ...finite), Math.min(0, ...finite)];
    const tall = 80 / (top - bottom || 1);
    const zero = 10 + top * tall;
    const shown = new Map(images.map((one) => [one.id, one]));
    const svg = $('strip');
    svg.setAttribute('viewBox', `0 0 ${values.length} 100`);
    svg.replaceChildren(...values.map(({ id, gain }, k) => {
      const height = Math.max(Math.abs(Math.min(top, Math.max(bottom, gain))) * tall, 0.6);
      const side = `${gain >= 0 ? 'up' : 'down'}${shown.has(id) ? ' has' : ''}`;
      return draw('rect', { class: side, x: k + 0.1, width: 0.8, y: gain >= 0 ? zero - height : zero, height });
    }), draw('path', { class: 'zero', d: `M0 ${zero}H${values.length}` }));
    const place = values.findIndex(({ id }) => id === image.id);
    if (place >= 0) svg.append(draw('rect', { class: 'now', x: place, width: 1, y: zero + (values[place].gain >= 0 ? 3 : -9), height: 6 }));
    svg.onclick = (event) => {
      const box = svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * values.length - 0.5;
      const near = values.map(({ id }, k) => ({ id, far: Math.abs(k - at) })).filter(({ id }) => shown.has(id)).sort((x, y) => x.far - y.far)[0];
      choose(shown.get(near.id));
    };
    const count = (test) => values.filter(({ gain }) => test(gain)).length;
    const [wins, losses] = [count((gain) => gain > 0), count((gain) => gain < 0)];
    const mean = values.reduce((sum, { gain }) => sum + gain, 0) / values.length;
    $('wins').replaceChildren(
      make('span', { class: 'tell-a' }, label[now.left]), ` has the better ${name} on ${wins} of ${values.length} images, `,
      make('span', { class: 'tell-b' }, label[now.right]), ` on ${losses}`, wins + losses < values.length ? `, ${values.length - wins - losses} are equal` : '',
      `; mean difference ${signed(higher ? mean : -mean, decimals)}${unit(now.metric)}. Strong bars: images shown here.`);
    svg.setAttribute('aria-label', `Difference in ${name} of every test image, sorted`);
  }

  // Thumbnails
  const thumbs = new Map(images.map((one) => {
    const canvas = make('canvas', { 'aria-hidden': 'true' });
    const said = make('span');
    const item = option('image', one.id, false, make('div', {}, canvas, said));
    item.querySelector('input').setAttribute('aria-label', one.caption ? `${one.id}: ${one.caption}` : one.id);
    return [one, { canvas, said, item }];
  }));

  function sorted(now) {
    const place = new Map(ids.map((id, k) => [id, k]));
    const far = (k) => {
      const gain = advantage(now, k);
      if (gain !== undefined) return Math.abs(gain);
      const only = score(now.left, now.bucket, now.metric, k) ?? score(now.right, now.bucket, now.metric, k) ?? 0;
      return metricOf(now.metric).higher ? -only : only; // the ground truth has no score: the worse, the farther from it
    };
    const keys = {
      disagree: far,
      left: (k) => advantage(now, k) ?? far(k),
      right: (k) => -(advantage(now, k) ?? -far(k)),
      hole: (k) => ratios[now.bucket][k],
      name: (k) => -k,
    };
    const value = (one) => keys[now.order](place.get(one.id));
    return [...images].sort((x, y) => (value(x) === value(y) ? 0 : value(y) - value(x)));
  }

  function list(now) {
    const { name, decimals, higher } = metricOf(now.metric);
    const order = sorted(now);
    const both = advantage(now, 0) !== undefined;
    const one = now.left in scores || now.right in scores;
    $('shelf').textContent = `Images${both ? `, and left − right in ${name}` : one ? `, and their ${name}` : ', and their holes'}`;
    const held = document.activeElement;
    $('images').append(...order.map((one) => thumbs.get(one).item));
    if (held?.name === 'image') held.focus();
    for (const one of order) {
      const { canvas, said } = thumbs.get(one);
      const k = ids.indexOf(one.id);
      const gain = advantage(now, k);
      const only = score(now.left, now.bucket, now.metric, k) ?? score(now.right, now.bucket, now.metric, k);
      said.className = gain > 0 ? 'tell-a' : gain < 0 ? 'tell-b' : '';
      said.textContent = gain !== undefined ? signed(higher ? gain : -gain, decimals) : only === undefined || only === null ? `${ratios[now.bucket][k]} %` : fixed(only, decimals);
      layers(one, MASKED, now.bucket).then((layer) => { if (state().bucket === now.bucket) paint(canvas, layer); });
    }
  }

  function show(relist) {
    const now = state();
    if (relist) list(now);
    pair(now);
    strip(now);
    slide();
    $('left-name').textContent = label[now.left];
    $('right-name').textContent = label[now.right];
    stage(now);
  }

  function choose(one) {
    image = one;
    thumbs.get(one).item.querySelector('input').checked = true;
    show(false);
  }

  /** Show the image that the order puts first. */
  function restart() {
    list(state());
    choose(sorted(state())[0]);
  }

  // The slider: a native one for keyboard and screen reader; pointers drag anywhere on the image
  const slider = $('slider');
  function slide() {
    $('stage').style.setProperty('--at', `${slider.value}%`);
    slider.setAttribute('aria-valuetext', `${slider.value} % ${label[$('left').value]}, ${100 - slider.value} % ${label[$('right').value]}`);
  }
  slider.addEventListener('input', slide);
  const box = $('stage');
  const drag = (event) => {
    const { left, width } = box.getBoundingClientRect();
    slider.value = Math.round(Math.max(0, Math.min(100, (100 * (event.clientX - left)) / width)));
    slide();
  };
  box.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || box.classList.contains('difference')) return;
    event.preventDefault();
    slider.focus({ preventScroll: true, focusVisible: false });
    box.setPointerCapture(event.pointerId);
    drag(event);
  });
  box.addEventListener('pointermove', (event) => { if (box.hasPointerCapture(event.pointerId)) drag(event); });

  $('show-difference').addEventListener('change', (event) => {
    $('difference').hidden = !event.target.checked;
    box.classList.toggle('difference', event.target.checked);
    slider.disabled = event.target.checked;
  });
  $('show-hole').addEventListener('change', (event) => { $('outline').hidden = !event.target.checked; });
  $('swap').addEventListener('click', () => {
    [$('left').value, $('right').value] = [$('right').value, $('left').value];
    slider.value = 100 - slider.value;
    show(true);
  });
  for (const id of ['left', 'right', 'buckets', 'measure']) $(id).addEventListener('change', () => show(true));
  $('order').addEventListener('change', restart);
  $('images').addEventListener('change', (event) => choose(images.find(({ id }) => id === event.target.value)));
  restart();
}

// ------------------------------------------------------------------------------------------------------------------
// Curves

const HUES = [205, 18, 130, 275, 48, 330, 170, 95, 240, 0];
const SMOOTH = 5; // logged losses averaged for the bold curve, as in the figure

const smoothed = (points) => points.map(([step], k) => {
  const near = points.slice(Math.max(0, k - (SMOOTH >> 1)), k + (SMOOTH >> 1) + 1).map(([, value]) => value).filter((value) => value !== null);
  return [step, near.length ? near.reduce((a, b) => a + b, 0) / near.length : null];
});

function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((times) => times * power >= raw) * power;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(6)));
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) for (const times of [1, 2, 5]) found.push(Number((times * 10 ** power).toPrecision(1)));
  const within = found.filter((at) => at >= low && at <= high);
  return within.length > 6 ? within.filter((at) => /^1|^0\.0*1$/.test(String(at))) : within.length > 2 ? within : ticks(low, high, 4);
}

/** Lines over the steps; `series` are {label, points, raw, hue, dash}. */
function chart(title, series, logarithmic) {
  const [width, height, left, right, top, bottom] = [480, 280, 48, 8, 26, 34];
  const points = series.flatMap((one) => [...one.points, ...(one.raw ?? [])].filter(([, value]) => Number.isFinite(value) && (!logarithmic || value > 0)));
  const svg = draw('svg', { class: 'chart', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': title }, draw('text', { x: 0, y: 12 }, title));
  if (!points.length) return svg;
  const values = points.map(([, value]) => value);
  const warp = logarithmic ? Math.log10 : (value) => value;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = (warp(high) - warp(low)) * 0.05 || 1;
  const last = Math.max(...points.map(([step]) => step));
  const x = (step) => left + ((width - left - right) * step) / last;
  const y = (value) => height - bottom - ((height - top - bottom) * (warp(value) - warp(low) + pad)) / (warp(high) - warp(low) + 2 * pad);
  for (const at of logarithmic ? logTicks(low, high) : ticks(low, high, 5)) svg.append(draw('path', { class: 'axis', d: `M${left} ${y(at)}H${width - right}` }), draw('text', { x: left - 8, y: y(at) + 4, 'text-anchor': 'end' }, String(at)));
  for (const at of ticks(0, last, 4)) svg.append(draw('text', { x: x(at), y: height - bottom + 18, 'text-anchor': at === 0 ? 'start' : at > 0.97 * last ? 'end' : 'middle' }, String(at)));
  svg.append(draw('text', { x: (left + width - right) / 2, y: height - 1, 'text-anchor': 'middle' }, 'step'));
  const line = (list) => {
    let pen = 'M';
    return list.map(([step, value]) => {
      if (!Number.isFinite(value) || (logarithmic && value <= 0)) { pen = 'M'; return ''; }
      const part = `${pen}${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = 'L';
      return part;
    }).join('');
  };
  for (const { points: list, raw, hue, dash } of series) {
    if (raw) svg.append(draw('path', { class: 'curve raw', d: line(raw), '--hue': hue }));
    svg.append(draw('path', { class: 'curve', d: line(list), '--hue': hue, 'stroke-dasharray': dash }));
  }
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const [px, py] = [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
    const near = series.flatMap(({ label, points: list }) => list.filter(([, value]) => Number.isFinite(value)).map(([step, value]) => ({ label, step, value, far: Math.hypot(x(step) - px, y(value) - py) }))).sort((p, q) => p.far - q.far)[0];
    if (!near || near.far > 30) { hush(); return; }
    const at = { left: box.left + (x(near.step) * box.width) / width, width: 0, top: box.top + (y(near.value) * box.height) / height - 4, bottom: box.top + (y(near.value) * box.height) / height + 4 };
    tell(at, near.label, [`step ${near.step}: ${near.value.toPrecision(4)}`]);
  });
  svg.addEventListener('pointerleave', hush);
  return svg;
}

function training(section) {
  const first = [...data.curves].sort((x, y) => y.shown - x.shown); // the figure's own methods get the first colours
  const curves = data.curves.map((curve) => {
    const k = first.indexOf(curve);
    return { ...curve, hue: HUES[k % HUES.length], dash: k < HUES.length ? undefined : k < 2 * HUES.length ? '5 3' : '2 2' };
  });
  if (!curves.some(({ shown }) => shown)) for (const curve of curves) curve.shown = true;
  const charts = section.querySelector('.charts');
  const boxes = curves.map((curve) => {
    const box = make('input', { type: 'checkbox', checked: curve.shown });
    const sample = draw('svg', { viewBox: '0 0 24 8', 'aria-hidden': 'true' }, draw('path', { class: 'curve', d: 'M0 4H24', '--hue': curve.hue, 'stroke-dasharray': curve.dash }));
    const last = curve.psnr.at(-1)?.[1];
    $('legend').append(make('label', {}, box, sample, `${curve.label}${last === undefined || last === null ? '' : ` ${fixed(last, 2)}\u00a0dB`}`));
    return box;
  });
  const show = () => {
    const chosen = curves.filter((_, k) => boxes[k].checked);
    const of = (key) => chosen.map((curve) => ({ ...curve, points: key === 'loss' ? smoothed(curve.loss) : curve.psnr, raw: key === 'loss' ? curve.loss : undefined }));
    charts.replaceChildren(chart('validation PSNR, dB', of('psnr'), false), chart('training loss', of('loss'), true));
  };
  $('legend').addEventListener('change', show);
  show();
}

// ------------------------------------------------------------------------------------------------------------------
// The page

const { about } = data;
$('dataset').textContent = about.dataset;
$('results').textContent = `${about.results}/`;
$('facts').textContent = [
  `${about.size} × ${about.size} pixels`, about.images && `${about.images} test images, each under one mask of every size`, `preset ${about.preset}`,
  `seed${about.seeds.length > 1 ? 's' : ''} ${about.seeds.join(', ')}`, about.manifest && `manifest ${about.manifest}`,
].filter(Boolean).join(' · ');
$('warning').hidden = about.as_published;
$('terms').hidden = about.embedded;

for (const table of data.tables) $('tables').append(qualityTable(table));
absent($('tables'), /^Table/);
$('grey').hidden = !data.tables.some((table) => table.claim);
if (data.gallery) gallery();
else $('explorer').hidden = true;
absent($('gallery'), /gallery$/);
if (data.claims) claims($('claims'));
else for (const part of $('claims').querySelectorAll('.lead, .controls')) part.hidden = true;
absent($('claims'), /^Claims/);
$('claims').hidden = !data.claims && !data.missing.some(({ part }) => part === 'Claims');
if (data.curves.length) training($('training'));
else $('training').hidden = true;
for (const src of data.maps) $('maps').append(make('div', { class: 'wide' }, make('img', { src, alt: 'Semantic maps of masked images before and after completion' })));
absent($('maps'), /^Semantic maps/);
$('maps').hidden = $('maps').children.length < 3;
for (const section of document.querySelectorAll('main > section:not([hidden])')) document.querySelector('nav').append(make('a', { href: `#${section.id}` }, section.querySelector('h2').textContent));
