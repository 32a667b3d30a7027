// The way from one image to another: two ends, each a class, an image of the project or a drawing, and what lies between.

import { call } from './api.js';
import { newestOnly, picture } from './drawn.js';
import { element } from './dom.js';

const STEPS = [8, 9, 10, 11, 12];
const TITLES = ['From', 'To'];
const RECENT = 20; // answers offered as ends
const STORE = 'labeler.way.steps';

export class Way {
  /** @param marked called with the drawings that are ends: [[class id, column] or null, the same of the other] */
  constructor(root, marked) {
    Object.assign(this, { root, marked, ends: [null, null], active: 0, classes: [], recent: [] });
    this.n = Number(localStorage.getItem(STORE)) || 10;
    this.strip = root.querySelector('.way-strip');
    this.redraw = newestOnly(() => this.draw());
    const steps = root.querySelector('.way-steps');
    steps.append(...STEPS.map((n) => new Option(String(n), String(n), false, n === this.n)));
    steps.addEventListener('change', () => {
      this.n = Number(steps.value);
      localStorage.setItem(STORE, steps.value);
      this.redraw();
    });
    this.root.querySelector('.way-ends').append(...TITLES.map((title, i) => this.end(title, i)));
  }

  /** Which end the next click on a drawing sets, what it is, or an image by its number. */
  end(title, i) {
    const box = element('div', 'way-end');
    const button = element('button', 'way-title', title);
    button.type = 'button';
    button.title = 'The next drawing you click becomes this end';
    button.addEventListener('click', () => this.activate(i));
    const what = element('select');
    what.setAttribute('aria-label', `${title}: what`);
    what.addEventListener('focus', () => this.remember());
    what.addEventListener('change', () => this.set(i, what.value));
    const number = element('input');
    Object.assign(number, { type: 'text', inputMode: 'numeric', placeholder: 'image no.', maxLength: 12 });
    number.setAttribute('aria-label', `${title}: an image by its number`);
    number.addEventListener('change', () => this.number(i, number));
    number.addEventListener('keydown', (event) => event.key === 'Enter' && this.number(i, number));
    box.append(button, what, number);
    return box;
  }

  number(i, field) {
    const text = field.value.trim();
    if (!text) return;
    if (!/^[1-9]\d*$/.test(text)) return this.note('An image has a whole number, as an export and the log show it.');
    field.value = '';
    this.set(i, `sample:${text}`);
  }

  /** The classes there are; the first two are the ends to begin with. */
  list(classes) {
    const listed = JSON.stringify(classes.map((c) => [c.id, c.name]));
    if (listed === this.listed) return;
    Object.assign(this, { listed, classes });
    const known = (end) => end && (end.startsWith('sample:') || classes.some((c) => c.id === Number(end.split(':')[1])));
    this.ends = this.ends.map((end, i) => (known(end) ? end : classes.length ? `class:${classes[Math.min(i, classes.length - 1)].id}` : null));
    this.paint();
    this.remember();
  }

  /** The newest answers, to be chosen from: none that measure, nor those that others are asked too. */
  async remember() {
    const { answers } = await call('history').catch(() => ({ answers: [] }));
    const open = answers.filter((one) => one.purpose !== 'measure' && !one.blind && one.kind === 'label').slice(0, RECENT);
    if (JSON.stringify(open.map((one) => one.uid)) === JSON.stringify(this.recent.map((one) => one.uid))) return;
    this.recent = open;
    this.paint();
  }

  /** A drawing was clicked: it becomes the end that is waiting, and then the other one waits. */
  choose(end) {
    const at = this.active;
    this.activate(1 - at);
    this.set(at, end);
  }

  activate(i) {
    this.active = i;
    this.paint();
  }

  set(i, end) {
    this.ends[i] = end;
    this.paint();
    this.redraw();
  }

  show(how) {
    const before = this.how && [this.how.version.version, this.how.temperature, this.how.rngSeed].join();
    this.how = how;
    if (before !== [how.version.version, how.temperature, how.rngSeed].join() || !this.strip.children.length) this.redraw();
  }

  async draw() {
    const { ends, n, how } = this;
    if (!how || !ends[0] || !ends[1]) return;
    const off = !how.version.weights;
    this.root.classList.toggle('off', off);
    for (const field of this.root.querySelectorAll('select, input, button')) field.disabled = off;
    if (off) return this.note('The weights of this version are gone: there is no way to draw.');
    const query = new URLSearchParams({ a: ends[0], b: ends[1], n, temperature: how.temperature, rng_seed: how.rngSeed });
    try {
      const path = `imagine/way/${how.version.version}?${query}`;
      const bitmap = await picture(path, { waiting: () => this.note('The process that draws is starting…') });
      this.put(bitmap, n);
      this.note('');
    } catch (problem) {
      this.note(problem.message);
    }
  }

  put(bitmap, n) {
    const width = bitmap.width / n;
    const made = Array.from({ length: n }, (_, i) => {
      const canvas = element('canvas');
      Object.assign(canvas, { width, height: bitmap.height });
      canvas.getContext('2d').drawImage(bitmap, i * width, 0, width, bitmap.height, 0, 0, width, bitmap.height);
      return canvas;
    });
    this.strip.style.setProperty('--n', n);
    this.strip.setAttribute('aria-label', `${n} images from ${this.words(this.ends[0])} to ${this.words(this.ends[1])}`);
    this.strip.replaceChildren(...made);
  }

  words(end) {
    const [kind, first, column] = end.split(':');
    if (kind === 'sample') return `image ${first}`;
    const name = this.classes.find((c) => c.id === Number(first))?.name ?? 'a class that is gone';
    return kind === 'class' ? name : `${name}, drawing ${Number(column) + 1}`;
  }

  paint() {
    this.root.querySelectorAll('.way-end').forEach((box, i) => {
      box.querySelector('.way-title').setAttribute('aria-pressed', String(i === this.active));
      const what = box.querySelector('select');
      what.replaceChildren(...this.options(this.ends[i]));
      if (this.ends[i]) what.value = this.ends[i];
    });
    const drawings = this.ends.map((end) => (end?.startsWith('drawn:') ? end.split(':').slice(1).map(Number) : null));
    this.marked(drawings);
  }

  options(end) {
    const names = new Map(this.classes.map((c) => [c.id, c.name]));
    const classes = this.classes.map((c) => new Option(c.name, `class:${c.id}`));
    const answered = this.recent.map((one) => new Option(`image ${one.sample_id}, ${names.get(one.class_id) ?? 'another class'}`, `sample:${one.sample_id}`));
    const chosen = end && ![...classes, ...answered].some((one) => one.value === end) ? [new Option(this.words(end), end)] : [];
    const groups = [['Chosen', chosen], ['Classes', classes], ['Images you labeled last', answered]];
    return groups.filter(([, list]) => list.length).map(([label, list]) => {
      const group = element('optgroup');
      group.label = label;
      group.append(...list);
      return group;
    });
  }

  note(text) {
    this.root.querySelector('.way-note').textContent = text;
  }
}
