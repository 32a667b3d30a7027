// A small line chart in SVG: a line and a band for each series, round ticks, the nearest point under the pointer.

import { element, number } from './dom.js';

const SVG = 'http://www.w3.org/2000/svg';
const EDGE = { left: 52, right: 14, top: 12, bottom: 28 };
const COLOURS = { gold: 'var(--gold)', measured: 'var(--accent)' };

/** @param series [{name, points: [{x, y, n?, version}]}] */
export function drawChart(host, series, { format, along, floor, ceiling }) {
  const width = host.clientWidth;
  const height = host.clientHeight;
  const points = series.flatMap((one) => one.points);
  if (!points.length || width < 80) return host.replaceChildren(element('p', 'chart-empty', 'Nothing measured yet'));
  const xs = ticks(Math.min(...points.map((p) => p.x)), Math.max(...points.map((p) => p.x)), Math.floor(width / 90), true);
  const ys = ticks(floor ?? Math.min(...points.map((p) => p.y)), ceiling ?? Math.max(...points.map((p) => p.y)), 4);
  const place = {
    x: (x) => EDGE.left + ((x - xs[0]) / (xs.at(-1) - xs[0] || 1)) * (width - EDGE.left - EDGE.right),
    y: (y) => height - EDGE.bottom - ((y - ys[0]) / (ys.at(-1) - ys[0] || 1)) * (height - EDGE.top - EDGE.bottom),
  };
  const svg = shape('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': described(series, format, along) });
  for (const y of ys) {
    svg.append(shape('line', { x1: EDGE.left, x2: width - EDGE.right, y1: place.y(y), y2: place.y(y), class: 'grid' }));
    svg.append(shape('text', { x: EDGE.left - 8, y: place.y(y) + 4, 'text-anchor': 'end' }, format(y)));
  }
  for (const x of xs) svg.append(shape('text', { x: place.x(x), y: height - 8, 'text-anchor': x === xs.at(-1) ? 'end' : 'middle' }, number(x)));
  for (const one of series) svg.append(...line(one, place));
  const pointer = pointerOf(svg, series, place, format, along);
  host.replaceChildren(svg, pointer);
}

function line({ name, points }, place) {
  const colour = COLOURS[name] ?? 'var(--accent)';
  const path = (list) => list.map(([x, y], i) => `${i ? 'L' : 'M'}${place.x(x).toFixed(1)} ${place.y(y).toFixed(1)}`).join('');
  const made = [];
  if (points.every((p) => p.n)) {
    const [low, high] = [0, 1].map((end) => points.map((p) => [p.x, interval(p.y, p.n)[end]]));
    made.push(shape('path', { d: path([...high, ...low.reverse()]) + 'Z', class: 'band', style: `fill:${colour}` }));
  }
  made.push(shape('path', { d: path(points.map((p) => [p.x, p.y])), class: 'line', style: `stroke:${colour}` }));
  const last = points.at(-1);
  made.push(shape('circle', { cx: place.x(last.x), cy: place.y(last.y), r: 4, style: `fill:${colour}` }));
  return made;
}

/** The line and the words that follow the pointer. */
function pointerOf(svg, series, place, format, along) {
  const words = element('div', 'chart-words');
  const rule = shape('line', { y1: EDGE.top, y2: svg.getAttribute('height') - EDGE.bottom, class: 'rule', visibility: 'hidden' });
  svg.append(rule);
  svg.addEventListener('pointermove', (event) => {
    const x = event.clientX - svg.getBoundingClientRect().left;
    const nearest = series.map((one) => one.points.reduce((best, p) => (Math.abs(place.x(p.x) - x) < Math.abs(place.x(best.x) - x) ? p : best)));
    const at = place.x(nearest[0].x);
    for (const side of ['x1', 'x2']) rule.setAttribute(side, at);
    rule.setAttribute('visibility', 'visible');
    const values = nearest.map((p, i) => `${series.length > 1 ? `${series[i].name} ` : ''}${format(p.y)}${p.n ? ` (n=${number(p.n)})` : ''}`);
    words.textContent = `${number(nearest[0].x)} ${along} · ${values.join(', ')} · v${nearest[0].version}`;
    words.style.left = `${Math.min(Math.max(at, 110), svg.clientWidth - 110)}px`;
    words.classList.add('on');
  });
  svg.addEventListener('pointerleave', () => {
    rule.setAttribute('visibility', 'hidden');
    words.classList.remove('on');
  });
  return words;
}

function described(series, format, along) {
  const end = ({ x, y }) => `${format(y)} at ${number(x)} ${along}`;
  return series.map(({ name, points }) => `${name}: from ${end(points[0])} to ${end(points.at(-1))}`).join('; ');
}

/** Wilson's 95% interval of a share. */
export function interval(share, n) {
  const z = 1.96;
  const centre = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

/** Round numbers that enclose low..high, about `wanted` of them. */
function ticks(low, high, wanted, whole = false) {
  const span = high - low || Math.max(Math.abs(high), whole ? 10 : 0.1);
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  let size = [1, 2, 5, 10].map((m) => m * power).find((step) => step >= rough);
  if (whole) size = Math.max(1, size);
  const first = Math.floor(low / size + 1e-9) * size;
  const count = Math.max(1, Math.ceil((Math.max(high, low + span * 1e-9) - first) / size - 1e-9));
  return Array.from({ length: count + 1 }, (_, i) => Number((first + i * size).toPrecision(12)));
}

function shape(tag, attributes, text = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}
