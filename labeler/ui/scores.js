// Class by class: precision, recall and F1 with their intervals, and the confusion matrix. Its cells open the grid, or
// show the gold images that they count.

import { call } from './api.js';
import { element, number, percent } from './dom.js';
import { openGrid } from './grid.js';

const KINDS = { measured: 'Measuring images', gold: 'Gold images' };
const WHOSE = {
  measured: 'drawn at random, labeled here and never learned from',
  gold: 'whose class was known at import, and never learned from',
};
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export class Scores {
  /** @param panel where it is shown, @param state () => the page's state */
  constructor(panel, state) {
    Object.assign(this, { panel, state, scores: {}, kind: null, at: [0, 0] });
    this.matrix = panel.querySelector('.confusion');
    this.note = panel.querySelector('.confusion-say');
    this.behind = panel.querySelector('.confusion-images');
    this.matrix.addEventListener('keydown', (event) => this.walk(event));
    this.matrix.addEventListener('focusin', ({ target }) => this.point(target.closest('button')));
    this.matrix.addEventListener('click', ({ target }) => this.open(target.closest('button')));
  }

  show(scores) {
    const told = JSON.stringify([scores, this.state().classes]);
    if (told === this.told) return; // the place of the keyboard stays
    Object.assign(this, { scores, told });
    if (!scores[this.kind]) this.kind = Object.keys(KINDS).find((kind) => scores[kind]) ?? null;
    this.draw();
  }

  draw() {
    const { panel, kind, scores } = this;
    const some = scores[kind];
    panel.querySelector('.scores-empty').hidden = Boolean(some);
    panel.querySelector('.scores-body').hidden = !some;
    const choice = panel.querySelector('.kinds');
    const kinds = Object.keys(KINDS).filter((one) => scores[one]);
    choice.hidden = kinds.length < 2;
    choice.replaceChildren(...kinds.map((one) => this.choice(one)));
    panel.querySelector('header p').textContent = some
      ? `${percent(some.accuracy.value)} of ${number(some.n)} ${KINDS[kind].toLowerCase()} are right now, 95% interval ${percent(some.accuracy.low)} to ${percent(some.accuracy.high)}: images ${WHOSE[kind]}.`
      : '';
    if (!some) return;
    const classes = new Map(this.state().classes.map((c) => [c.id, c]));
    this.classes = some.class_ids.map((id) => classes.get(id) ?? { id, name: 'a class that is gone', colour: '#888' });
    panel.querySelector('.scores-table tbody').replaceChildren(...some.classes.map((one, i) => row(one, this.classes[i])));
    this.drawMatrix(some);
  }

  choice(kind) {
    const button = element('button', '', KINDS[kind]);
    button.type = 'button';
    button.setAttribute('aria-pressed', String(kind === this.kind));
    button.addEventListener('click', () => {
      this.kind = kind;
      this.behind.replaceChildren();
      this.draw();
      this.panel.querySelector('.kinds [aria-pressed=true]').focus();
    });
    return button;
  }

  // ---------- the confusion matrix ----------

  drawMatrix({ confusion }) {
    const focused = this.matrix.contains(document.activeElement);
    const head = element('tr');
    head.append(corner(), ...this.classes.map((c) => heading(c, 'col')));
    const rows = confusion.map((counts, i) => {
      const line = element('tr');
      const total = counts.reduce((sum, n) => sum + n, 0);
      line.append(heading(this.classes[i], 'row'), ...counts.map((n, j) => this.cell(n, total, i, j)));
      return line;
    });
    this.matrix.querySelector('thead').replaceChildren(head);
    this.matrix.querySelector('tbody').replaceChildren(...rows);
    this.matrix.classList.toggle('many', this.classes.length > 14);
    this.at = this.at.map((place) => Math.min(place, this.classes.length - 1));
    const button = this.button(...this.at);
    button.tabIndex = 0;
    if (focused) button.focus();
  }

  cell(n, total, i, j) {
    const share = total ? n / total : 0;
    const place = element('td', i === j ? 'right' : n ? 'wrong' : '');
    const button = element('button', '', n ? number(n) : '·');
    Object.assign(button, { type: 'button', tabIndex: -1 });
    Object.assign(button.dataset, { row: i, column: j });
    place.style.setProperty('--share', share);
    button.title = this.inWords(n, total, i, j);
    button.setAttribute('aria-label', button.title);
    place.append(button);
    return place;
  }

  inWords(n, total, i, j) {
    const share = total ? ` of ${number(total)} (${Math.round((100 * n) / total)}%)` : ', as there is none of that class';
    const pair = i === j ? `${this.classes[i].name}, taken for it` : `${this.classes[i].name}, taken for ${this.classes[j].name}`;
    return `${pair}: ${number(n)}${share}`;
  }

  button(i, j) {
    return this.matrix.querySelector(`[data-row='${i}'][data-column='${j}']`);
  }

  walk(event) {
    const button = event.target.closest('button');
    if (!button || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.classes.length - 1;
    const { row, column } = button.dataset;
    const [down, right] = STEPS[event.key] ?? [0, 0];
    let next = [Number(row) + down, Number(column) + right];
    if (event.key === 'Home') next = [Number(row), 0];
    else if (event.key === 'End') next = [Number(row), last];
    else if (!STEPS[event.key]) return;
    event.preventDefault();
    this.button(...next.map((place) => Math.min(last, Math.max(0, place)))).focus();
  }

  /** The cell that Tab comes back to. */
  point(button) {
    if (!button) return;
    this.button(...this.at)?.setAttribute('tabindex', '-1');
    button.tabIndex = 0;
    const at = [Number(button.dataset.row), Number(button.dataset.column)];
    if (String(at) !== String(this.at)) this.behind.replaceChildren(); // they are of the cell before
    this.at = at;
    this.note.textContent = button.title;
  }

  async open(button) {
    if (!button) return;
    this.point(button);
    const [given, taken] = this.at.map((place) => this.classes[place]);
    const pair = given === taken ? `${given.name} that are taken for it` : `${given.name} that are now taken for ${taken.name}`;
    this.behind.replaceChildren();
    this.opened = button;
    try {
      const found = await call(`confused?given=${given.id}&taken=${taken.id}`);
      if (this.opened !== button) return null; // another cell was opened meanwhile
      if (this.kind === 'gold' && found.gold_n) return this.showGold(found, pair);
      if (found.learned.length) return openLearned(found.learned, pair);
      const { measuring } = found;
      const hidden = measuring ? ` ${number(measuring)} of those that measure ${measuring === 1 ? 'is' : 'are'}: they are looked at on the Label tab alone.` : '';
      this.note.textContent = `No label that it learned from is among ${pair}.${hidden}`;
    } catch (problem) {
      this.note.textContent = problem.message;
    }
  }

  /** The gold images of a cell, to be looked at: they came with their class. Each opens whole. */
  showGold({ gold, gold_n: n, learned }, pair) {
    this.note.textContent = `Gold images of ${pair}: ${n > gold.length ? `the first ${number(gold.length)} of ` : ''}${number(n)}`;
    const strip = element('div', 'confusion-strip');
    strip.append(...gold.map(thumbnail));
    this.behind.replaceChildren(strip);
    if (!learned.length) return;
    const more = element('button', '', `Open in the grid the ${number(learned.length)} that it learned from`);
    more.type = 'button';
    more.addEventListener('click', () => openLearned(learned, pair));
    this.behind.append(more);
  }
}

function openLearned(learned, pair) {
  openGrid({ among: learned, decided: true, title: `Labels ${pair}: it has learned from them` });
}

function thumbnail({ image, thumb, name, width, height }) {
  const link = element('a');
  Object.assign(link, { href: image, target: '_blank', title: name });
  const picture = element('img', Math.max(width, height) <= 128 ? 'pixelated' : '');
  Object.assign(picture, { src: thumb, alt: name });
  link.append(picture);
  return link;
}

function corner() {
  const place = element('td', 'corner');
  place.append(element('span', '', 'label ↓'), element('span', '', 'taken for →'));
  return place;
}

function heading(c, scope) {
  const head = element('th');
  head.scope = scope;
  head.title = c.name;
  const name = element('span', '', c.name);
  name.style.setProperty('--c', c.colour);
  head.append(name);
  return head;
}

/** A line of the table of classes. */
function row(one, c) {
  const line = element('tr', one.few ? 'few' : '');
  const name = element('th');
  name.scope = 'row';
  name.append(element('span', '', c.name));
  name.firstElementChild.style.setProperty('--c', c.colour);
  name.title = c.name;
  line.append(name, element('td', 'n', number(one.n)));
  if (one.few) {
    const few = element('td', 'too-few', one.n ? `too few: ${one.n} ${one.n === 1 ? 'image' : 'images'} of it` : 'none of it measured yet');
    few.colSpan = 3;
    line.append(few);
  } else {
    line.append(...['precision', 'recall', 'f1'].map((which) => score(one[which])));
  }
  return line;
}

/** A value with its interval as a bar. */
function score(one) {
  const place = element('td', 'score');
  if (!one) {
    place.append(element('span', 'none', 'never taken for it'));
    return place;
  }
  const track = element('i', 'interval');
  track.setAttribute('aria-hidden', 'true');
  const band = element('i');
  Object.assign(band.style, { left: `${100 * one.low}%`, width: `${100 * (one.high - one.low)}%` });
  const mark = element('b');
  mark.style.left = `${100 * one.value}%`;
  track.append(band, mark);
  const words = element('span', '', `${Math.round(100 * one.value)}%`);
  words.append(element('small', '', ` ${Math.round(100 * one.low)}–${Math.round(100 * one.high)}`));
  place.title = `${percent(one.value)}, 95% interval ${percent(one.low)} to ${percent(one.high)}, n=${number(one.n)}`;
  place.append(words, track);
  return place;
}
