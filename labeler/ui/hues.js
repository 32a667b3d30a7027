// How the map is coloured: what each image counts as, the colours of that, and which images are on top.

import { element, number } from './dom.js';

const OPEN = 0; // codes: classes have their id, people 1, 2 ..., all else is below one
const KIND = { skip: -1, unsure: -2, flag: -3, disputed: -4 };
const BLIND = -9;
const WORDS = { [OPEN]: 'Open', [-1]: 'Skipped', [-2]: 'Unsure', [-3]: 'Flagged', [-4]: 'Disputed', [BLIND]: 'Nothing is told of these' };
const GREYS = { [OPEN]: ['#8d97a6', '#77818f'], [-1]: ['#4d5562', '#b3bac6'], [-2]: ['#7a5a1e', '#d8b06a'], [-3]: ['#8a2f3a', '#e88b93'], [-4]: ['#5b3f8c', '#b59ae6'], [BLIND]: ['#a9b1bd', '#545d69'] };
const PEOPLE = ['#2457d6', '#d1651b', '#12805c', '#9a3fb5', '#c02434', '#0e8aa6', '#8a6d00', '#5a5f6b'];
// Steps of equal difference to the eye, from no doubt to all: dark on light, light on dark (matplotlib's magma).
const MAGMA = ['#221150', '#3b0f70', '#57157e', '#721f81', '#8c2981', '#a8327d', '#c43c75', '#de4968', '#f1605d', '#fa7f5e', '#fe9f6d', '#febf84', '#fddea0'];
const UNKNOWN = [128, 128, 128];
const PALE = 0.45; // opacity of what is open, among what is decided
const DIM = 0.12; // and of what is not chosen, while something is

const isDark = () => document.body.classList.contains('dark');

/** {codes: Int32Array, entries: [{code, name, colour, n}], ranks: what is drawn above has the larger one}. */
export function counted(by, { n, facts }, classes) {
  const { label, guess, who, kind, doubt, blind } = facts.arrays;
  const codes = new Int32Array(n);
  const ranks = new Uint8Array(n);
  const kinds = facts.kinds.map((name) => KIND[name] ?? OPEN);
  const known = new Set(classes.map((one) => one.id));
  for (let i = 0; i < n; i++) {
    if (by === 'label') codes[i] = kind[i] === 1 ? (known.has(label[i]) ? label[i] : OPEN) : kinds[kind[i]];
    else if (by === 'who') codes[i] = kind[i] ? who[i] : OPEN;
    else if (blind[i]) codes[i] = BLIND;
    else codes[i] = by === 'guess' ? guess[i] : 1;
    ranks[i] = by === 'doubt' ? (blind[i] ? 0 : 1 + (doubt[i] >> 1)) : codes[i] === OPEN || codes[i] === BLIND ? 0 : codes[i] < 0 ? 1 : 2;
  }
  return { codes, ranks, entries: entries(by, codes, facts, classes) };
}

function entries(by, codes, facts, classes) {
  const n = new Map();
  for (const code of codes) n.set(code, (n.get(code) ?? 0) + 1);
  const grey = (code) => ({ code, name: WORDS[code], colour: GREYS[code][isDark() ? 1 : 0], n: n.get(code) ?? 0 });
  const others = [OPEN, ...Object.values(KIND), BLIND].filter((code) => n.has(code)).map(grey);
  if (by === 'doubt') return [{ code: 1, name: 'Uncertainty', colour: null, n: n.get(1) ?? 0 }, ...others];
  if (by === 'who') {
    const person = (name, k) => ({ code: k + 1, name, colour: PEOPLE[k % PEOPLE.length], n: n.get(k + 1) ?? 0 });
    return [...facts.people.map(person).filter((one) => one.n), ...others];
  }
  return [...classes.map((one) => ({ code: one.id, name: one.name, colour: one.colour, n: n.get(one.id) ?? 0 })), ...others];
}

/** A colour for each image, red, green, blue and alpha. @param chosen the images that stand out, or null for all */
export function colours(by, { n, facts }, { codes, entries: listed }, chosen) {
  const rgba = new Uint8Array(4 * n);
  const of = new Map(listed.filter((one) => one.colour).map((one) => [one.code, rgb(one.colour)]));
  const steps = scale();
  const strong = new Uint8Array(n).fill(chosen ? 0 : 1);
  chosen?.forEach((i) => (strong[i] = 1));
  for (let i = 0; i < n; i++) {
    const graded = by === 'doubt' && codes[i] === 1;
    const colour = graded ? steps[facts.arrays.doubt[i]] : (of.get(codes[i]) ?? UNKNOWN);
    for (let k = 0; k < 3; k++) rgba[4 * i + k] = colour[k];
    rgba[4 * i + 3] = 255 * (codes[i] === OPEN || codes[i] === BLIND ? PALE : 1) * (strong[i] ? 1 : DIM);
  }
  return rgba;
}

/** The images that are shown, those with the larger rank on top. */
export function order(here, { codes, ranks }, hidden) {
  const shown = hidden.size ? here.filter((i) => !hidden.has(codes[i])) : here;
  const starts = new Uint32Array(257);
  for (const i of shown) starts[ranks[i] + 1] += 1;
  for (let rank = 0; rank < 256; rank++) starts[rank + 1] += starts[rank];
  const sorted = new Uint32Array(shown.length);
  for (const i of shown) sorted[starts[ranks[i]]++] = i;
  return sorted;
}

/** 256 colours, from no doubt to all. */
function scale() {
  const stops = (isDark() ? MAGMA : [...MAGMA].reverse()).map(rgb);
  return Array.from({ length: 256 }, (_, k) => {
    const at = (k / 255) * (stops.length - 1);
    const from = Math.min(stops.length - 2, Math.floor(at));
    return stops[from].map((value, axis) => Math.round(value + (stops[from + 1][axis] - value) * (at - from)));
  });
}

function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

// ---------- the legend ----------

/** The legend's entries, each a switch. @param toggle called with a code, or with 'all' or 'none' */
export function legend(by, listed, hidden, toggle) {
  const made = [];
  if (by === 'doubt') made.push(ramp());
  const box = element('div', 'map-entries');
  for (const one of listed.filter((each) => each.n || each.code > 0)) {
    const row = button('map-entry', () => toggle(one.code), { code: one.code });
    row.setAttribute('aria-pressed', String(!hidden.has(one.code)));
    const dot = element('i');
    dot.style.background = one.colour ?? 'linear-gradient(90deg, var(--from), var(--to))';
    row.append(dot, element('span', '', one.name), element('b', '', number(one.n)));
    row.title = one.name;
    box.append(row);
  }
  const all = element('div', 'map-all');
  for (const which of ['all', 'none']) {
    const one = button('', () => toggle(which), { code: which });
    one.textContent = which === 'all' ? 'Show all' : 'Hide all';
    all.append(one);
  }
  return [...made, box, all];
}

function button(className, action, data) {
  const made = element('button', className);
  made.type = 'button';
  Object.assign(made.dataset, data);
  made.addEventListener('click', action);
  return made;
}

function ramp() {
  const made = element('div', 'map-ramp');
  const bar = element('i');
  const steps = scale().filter((_, k) => k % 17 === 0);
  bar.style.background = `linear-gradient(90deg, ${steps.map((one) => `rgb(${one.join(' ')})`).join(', ')})`;
  const words = element('p');
  words.append(element('span', '', 'Sure'), element('span', '', 'Between two classes'));
  made.append(bar, words);
  return made;
}
