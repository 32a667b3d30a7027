// The rows of the Classes tab: colour, key and name of each class, edited where they stand, and their order.
//
// One stop of the Tab key: arrows go from cell to cell, Enter or F2 edits a name, Alt with an arrow moves the class.

import { element, number } from './dom.js';
import { digitOf, shown } from './keys.js';

const CELLS = ['.row-colour', '.row-key', '.row-name'];
const CALM = 500; // ms after the last step of a move until the order is sent

export class Rows {
  /**
   * @param change async (change, () => words) => sends it
   * @param chosen (class id) => called when a row is
   */
  constructor(box, change, chosen) {
    Object.assign(this, { box, change, chosen, classes: [], at: [0, 2], editing: null, waiting: null, drag: null });
    box.addEventListener('keydown', (event) => this.press(event));
    box.addEventListener('focusin', (event) => this.focused(event));
    box.addEventListener('pointerdown', (event) => this.grab(event));
    box.addEventListener('pointermove', (event) => this.pull(event));
    for (const type of ['pointerup', 'pointercancel']) box.addEventListener(type, () => this.drop());
  }

  /** These classes, in their order. What is being edited or moved stays as it is. */
  show(classes, mayChange) {
    this.newest = [classes, mayChange];
    if (this.editing || this.drag || this.moving) return;
    const now = JSON.stringify([classes.map(({ id, name, colour, key, guideline, examples }) => [id, name, colour, key, Boolean(guideline), examples.length]), mayChange]);
    this.classes = classes;
    if (now === this.listed) return this.counts();
    const inside = this.box.contains(document.activeElement);
    const { activeElement: before } = document;
    const kept = inside ? [before.closest('.row')?.dataset.classId, CELLS.findIndex((one) => before.matches(one))] : null;
    Object.assign(this, { listed: now, mayChange });
    this.box.replaceChildren(...classes.map((one) => this.row(one)));
    this.choose(this.id);
    this.counts();
    if (!kept) return;
    const row = Math.max(0, classes.findIndex((one) => String(one.id) === kept[0]));
    this.go(row, Math.max(0, kept[1]));
  }

  row(one) {
    const row = element('div', 'row');
    row.setAttribute('role', 'row');
    row.dataset.classId = one.id;
    row.style.setProperty('--c', one.colour);
    const colour = element('input', 'row-colour');
    Object.assign(colour, { type: 'color', value: one.colour, disabled: !this.mayChange });
    colour.setAttribute('aria-label', `Colour of ${one.name}`);
    colour.addEventListener('change', () => this.change({ kind: 'recolour', class_ids: [one.id], value: colour.value }, () => `${one.name} has another colour.`));
    const key = element('button', 'row-key', one.key ? shown(one.key) : '–');
    key.type = 'button';
    key.setAttribute('aria-label', `Key of ${one.name}: ${one.key ? shown(one.key) : 'none'}`);
    key.addEventListener('click', () => this.mayChange && this.wait(one));
    const name = element('button', 'row-name', one.name);
    Object.assign(name, { type: 'button', title: one.name });
    name.addEventListener('click', () => this.chosen(one.id));
    name.addEventListener('dblclick', () => this.edit(one.id));
    const count = element('span', 'row-labels');
    const about = element('span', 'row-about', '¶');
    about.title = one.guideline ? 'It has a guideline' : 'It has examples';
    about.hidden = !one.guideline && !one.examples.length;
    about.setAttribute('role', 'img');
    about.setAttribute('aria-label', about.title);
    const grip = element('span', 'row-grip', '⠿');
    grip.setAttribute('aria-hidden', 'true');
    for (const [cell, within] of [['grip', grip], ['', colour], ['', key], ['wide', name], ['', about], ['number', count]]) {
      const box = element('div', `cell ${cell}`);
      box.setAttribute('role', 'gridcell');
      box.append(within);
      row.append(box);
    }
    return row;
  }

  counts(perClass = {}) {
    for (const row of this.box.children) {
      const one = this.classes.find(({ id }) => id === Number(row.dataset.classId));
      if (!one) continue;
      const n = perClass[one.id] ?? one.labels;
      const target = row.querySelector('.row-labels');
      const text = number(n);
      if (target.textContent !== text) target.textContent = text;
      target.setAttribute('aria-label', `${text} ${n === 1 ? 'label' : 'labels'}`);
      target.setAttribute('role', 'img');
    }
  }

  /** Marks the chosen row, which the Tab key comes to. */
  choose(id) {
    this.id = id;
    const place = this.placeOf(id);
    if (place >= 0) this.at = [place, this.at[1]];
    for (const row of this.box.children) row.setAttribute('aria-selected', String(Number(row.dataset.classId) === id));
    this.stops();
  }

  stops() {
    for (const [i, row] of [...this.box.children].entries()) {
      for (const [j, selector] of CELLS.entries()) {
        const cell = row.querySelector(selector);
        if (cell) cell.tabIndex = i === this.at[0] && j === this.at[1] ? 0 : -1;
      }
    }
  }

  focus(id) {
    const place = this.placeOf(id);
    if (place >= 0) this.go(place, 2);
  }

  /** Of its row as it stands: in the middle of a move that is not yet its place among the classes. */
  placeOf(id) {
    return [...this.box.children].findIndex((row) => Number(row.dataset.classId) === id);
  }

  reveal(id) {
    this.box.querySelector(`[data-class-id="${id}"]`)?.scrollIntoView({ block: 'nearest' });
  }

  go(row, cell) {
    const last = this.box.children.length - 1;
    this.at = [Math.min(last, Math.max(0, row)), Math.min(CELLS.length - 1, Math.max(0, cell))];
    this.stops();
    const target = this.box.children[this.at[0]]?.querySelector(CELLS[this.at[1]]);
    target?.focus();
    target?.scrollIntoView({ block: 'nearest' });
  }

  focused(event) {
    const row = event.target.closest('.row');
    const cell = CELLS.findIndex((selector) => event.target.matches(selector));
    if (!row || cell < 0) return;
    this.at = [[...this.box.children].indexOf(row), cell];
    this.stops();
    const id = Number(row.dataset.classId);
    if (id !== this.id) this.chosen(id);
  }

  // ---------- keys ----------

  press(event) {
    if (this.editing || event.isComposing) return;
    if (this.waiting) return this.take(event);
    const [row, cell] = this.at;
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    if (event.altKey && step?.[0]) {
      event.preventDefault();
      return this.move(step[0]);
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) this.go(row + step[0], cell + step[1]);
    else if (event.key === 'Home') this.go(0, cell);
    else if (event.key === 'End') this.go(Infinity, cell);
    else if (event.key === 'F2' || (event.key === 'Enter' && cell === 2)) this.edit(this.id);
    else return;
    event.preventDefault();
  }

  /** A name becomes a field. Enter or leaving it saves, Esc does not. */
  edit(id) {
    const row = this.box.querySelector(`[data-class-id="${id}"]`);
    const one = this.classes.find((each) => each.id === id);
    if (!row || !one || !this.mayChange || this.editing) return;
    const field = element('input', 'row-field');
    field.value = one.name;
    field.setAttribute('aria-label', `New name of ${one.name}`);
    const button = row.querySelector('.row-name');
    button.hidden = true;
    button.after(field);
    this.editing = field;
    const done = (save, back) => {
      if (this.editing !== field) return;
      this.editing = null;
      const name = field.value.trim();
      field.remove();
      button.hidden = false;
      if (back) button.focus();
      if (!save || name === one.name) this.show(...this.newest);
      else this.change({ kind: 'rename', class_ids: [id], name }, () => `${one.name} is named ${name} now.`);
    };
    field.addEventListener('keydown', (event) => {
      if (event.isComposing) return;
      if (event.key === 'Enter') done(true, true);
      else if (event.key === 'Escape') done(false, true);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    field.addEventListener('blur', () => done(true, false));
    field.focus();
    field.select();
  }

  /** The next key becomes that of the class. */
  wait(one) {
    this.calm();
    this.waiting = one;
    const button = this.box.querySelector(`[data-class-id="${one.id}"] .row-key`);
    button.classList.add('waiting');
    button.textContent = '…';
    button.setAttribute('aria-label', `Press the key for ${one.name}. Backspace: none. Escape: as it is.`);
    button.focus();
    button.addEventListener('blur', () => this.calm(), { once: true });
  }

  take(event) {
    const one = this.waiting;
    if (event.repeat || event.ctrlKey || event.metaKey || ['Shift', 'Alt', 'AltGraph'].includes(event.key)) return;
    if (event.key === 'Tab') return this.calm();
    event.preventDefault();
    this.calm();
    if (event.key === 'Escape') return;
    const key = event.key === 'Backspace' || event.key === 'Delete' ? '' : digitOf(event) || event.key.toLowerCase();
    const other = this.classes.find((each) => each.key === key && key && each.id !== one.id);
    const words = () => (key ? `${one.name} has the key ${shown(key)}.` : `${one.name} has no key.`) + (other ? ` ${other.name}, which had it, has ${one.key ? shown(one.key) : 'none'} now.` : '');
    this.change({ kind: 'key', class_ids: [one.id], value: key }, words);
  }

  calm() {
    const one = this.waiting;
    if (!one) return;
    this.waiting = null;
    const button = this.box.querySelector(`[data-class-id="${one.id}"] .row-key`);
    if (!button) return;
    button.classList.remove('waiting');
    button.textContent = one.key ? shown(one.key) : '–';
    button.setAttribute('aria-label', `Key of ${one.name}: ${one.key ? shown(one.key) : 'none'}`);
  }

  // ---------- order ----------

  /** One place up (-1) or down (1). The order is sent once the hand rests. */
  move(step) {
    const [from, cell] = this.at;
    const to = from + step;
    if (!this.mayChange || to < 0 || to >= this.box.children.length) return;
    this.place(this.box.children[from], to);
    this.go(to, cell);
    this.moving = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), CALM);
  }

  place(row, to) {
    const others = [...this.box.children].filter((one) => one !== row);
    this.box.insertBefore(row, others[to] ?? null);
  }

  send() {
    const ids = [...this.box.children].map((row) => Number(row.dataset.classId));
    const before = this.classes.map((one) => one.id);
    this.moving = false;
    this.listed = '';
    if (ids.join() === before.join()) return this.show(...this.newest);
    this.classes = ids.map((id) => this.classes.find((one) => one.id === id));
    this.change({ kind: 'reorder', class_ids: ids }, () => 'The order is changed. Keys stay as they are.');
  }

  grab(event) {
    if (!this.mayChange || !event.target.closest('.grip') || event.button !== 0) return;
    event.preventDefault();
    this.drag = event.target.closest('.row');
    this.drag.classList.add('dragged');
    this.box.setPointerCapture(event.pointerId);
  }

  pull(event) {
    if (!this.drag) return;
    const others = [...this.box.children].filter((one) => one !== this.drag);
    const to = others.findIndex((one) => {
      const { top, height } = one.getBoundingClientRect();
      return event.clientY < top + height / 2;
    });
    const place = to < 0 ? others.length : to;
    if ([...this.box.children].indexOf(this.drag) !== place) this.place(this.drag, place);
  }

  drop() {
    if (!this.drag) return;
    this.drag.classList.remove('dragged');
    this.drag = null;
    this.send();
  }
}
