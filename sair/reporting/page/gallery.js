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
  const trained = seed === null ? '' : ` Images and numbers are of one training each, of seed ${seed} where the name has none.`;
  $('shown').textContent = `Choose two methods, holes and an image, and drag the line between them. Here are ${which}.${trained} Only holes were filled, all else is the ground truth.`;

  // Controls
  const trainings = new Map(); // or samples, by method
  for (const entry of methods) trainings.set(entry.method, [...(trainings.get(entry.method) ?? []), entry]);
  const competing = [...trainings.values()].map(([entry]) => entry).filter(({ control }) => !control).map(({ name }) => name);
  const start = ['sair', 'liif'].every((name) => name in label) ? ['liif', 'sair'] : [competing[0] ?? methods[0].name, competing[1] ?? TRUTH];
  for (const [side, first] of [['left', start[0]], ['right', start[1]]]) {
    const item = (name) => make('option', { value: name, selected: name === first }, label[name]);
    for (const entries of trainings.values()) {
      const items = entries.map(({ name }) => item(name));
      $(side).append(...(items.length > 1 ? [make('optgroup', { label: entries[0].group }, ...items)] : items));
    }
    $(side).append(item(MASKED), item(TRUTH));
  }
  buckets.forEach((bucket, k) => $('buckets').append(option('bucket', bucket, k === buckets.length - 1, make('span', {}, where(bucket)))));
  for (const metric of metrics) $('measure').append(make('option', { value: metric }, metricOf(metric).name));

  const state = () => ({ left: $('left').value, right: $('right').value, bucket: $('buckets').querySelector(':checked').value, metric: $('measure').value, order: $('order').value });
  const score = (name, bucket, metric, k) => (name in scores ? scores[name][bucket][metric][k] : undefined);

  /** Return how much better left is than right on an image, in the metric's units; undefined if one has no score. */
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

  /** Return the layers of one side: the ground truth, and the hole's content over it. */
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

  /** Draw |left - right|, four times as bright, by blending, so that no pixel has to be read. */
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

  /** Draw the hole's outer edge, two screen pixels wide for any size of image. */
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
    if (mine !== turn) return; // another image was chosen while these were decoded
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

  /** Draw every test image's difference, sorted from left is better to right is better. */
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
      return metricOf(now.metric).higher ? -only : only; // the ground truth has no score, so sort by the other one: the worse, the larger the difference
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

