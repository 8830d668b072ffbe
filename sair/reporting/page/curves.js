// ------------------------------------------------------------------------------------------------------------------
// Curves

const HUES = [205, 18, 130, 275, 48, 330, 170, 95, 240, 0];
const SMOOTH = 5; // logged losses averaged for the bold curve, as in the figure

const smoothed = (points) => points.map(([step], k) => {
  const near = points.slice(Math.max(0, k - (SMOOTH >> 1)), k + (SMOOTH >> 1) + 1).map(([, value]) => value).filter((value) => value !== null);
  return [step, near.length ? near.reduce((a, b) => a + b, 0) / near.length : null];
});

/** The mean over seeds at the steps that all of them have. */
function mean(lines) {
  const at = new Map();
  for (const [step, value] of lines.flat()) at.set(step, [...(at.get(step) ?? []), value]);
  return [...at].filter(([, values]) => values.length === lines.length).map(([step, values]) => [step, values.includes(null) ? null : values.reduce((a, b) => a + b, 0) / values.length]);
}

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

/** Lines over the steps; `series` are {label, points, raw, hue, dash}, where `raw` are thin lines, one per seed. */
function chart(title, series, logarithmic) {
  const [width, height, left, right, top, bottom] = [480, 280, 48, 8, 26, 34];
  const points = series.flatMap((one) => [...one.points, ...one.raw.flat()].filter(([, value]) => Number.isFinite(value) && (!logarithmic || value > 0)));
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
    for (const one of raw) svg.append(draw('path', { class: 'curve raw', d: line(one), '--hue': hue }));
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
  const first = [...data.curves].sort((x, y) => y.shown - x.shown); // the methods of the figure get the first colours
  const curves = data.curves.map((curve) => {
    const k = first.indexOf(curve);
    return { ...curve, hue: HUES[k % HUES.length], dash: k < HUES.length ? undefined : k < 2 * HUES.length ? '5 3' : '2 2' };
  });
  if (!curves.some(({ shown }) => shown)) for (const curve of curves) curve.shown = true;
  const charts = section.querySelector('.charts');
  const boxes = curves.map((curve) => {
    const box = make('input', { type: 'checkbox', checked: curve.shown });
    const sample = draw('svg', { viewBox: '0 0 24 8', 'aria-hidden': 'true' }, draw('path', { class: 'curve', d: 'M0 4H24', '--hue': curve.hue, 'stroke-dasharray': curve.dash }));
    const last = mean(curve.psnr).at(-1)?.[1];
    $('legend').append(make('label', {}, box, sample, `${curve.label}${last === undefined || last === null ? '' : ` ${fixed(last, 2)}\u00a0dB`}`));
    return box;
  });
  const show = () => {
    const chosen = curves.filter((_, k) => boxes[k].checked);
    const loss = chosen.map((curve) => ({ ...curve, points: smoothed(mean(curve.loss)), raw: curve.loss }));
    const psnr = chosen.map((curve) => ({ ...curve, points: mean(curve.psnr), raw: curve.psnr.length > 1 ? curve.psnr : [] }));
    charts.replaceChildren(chart('validation PSNR, dB', psnr, false), chart('training loss', loss, true));
  };
  $('legend').addEventListener('change', show);
  show();
}

