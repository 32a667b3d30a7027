// The drawings of the Imagine tab: a row for each class, a column for each random style, moved through by arrow keys.

import { element, number } from './dom.js';

const GAP = 3; // pixels
const LEAST = 24;
const TALLEST = 600; // all rows together, where there are few

export class Sheet {
  /** @param choose called with (class id, column) of the drawing that was pressed */
  constructor(box, choose) {
    Object.assign(this, { box, choose, classes: [], columns: 0, at: [0, 0], cells: new Map(), shown: null, ends: [] });
    box.addEventListener('keydown', (event) => this.press(event));
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(box);
  }

  stop() {
    this.sizes.disconnect();
  }

  /** Lists these classes; true where the list is another one, and has to be painted. */
  list(classes, columns) {
    const listed = JSON.stringify([classes.map((c) => [c.id, c.name, c.colour]), columns]);
    if (listed === this.listed) return false;
    Object.assign(this, { listed, classes, columns, at: [0, 0] });
    this.cells.clear();
    this.box.replaceChildren(...classes.map((c, row) => this.row(c, row)));
    this.roam(0, 0, false);
    this.mark(this.ends);
    return true;
  }

  row(c, row) {
    const line = element('div', 'imagine-row');
    line.setAttribute('role', 'row');
    const name = element('span', 'imagine-name', c.name);
    name.setAttribute('role', 'rowheader');
    name.title = c.name;
    name.style.setProperty('--c', c.colour);
    line.append(name);
    for (let column = 0; column < this.columns; column++) line.append(this.cell(c, row, column));
    return line;
  }

  cell(c, row, column) {
    const cell = element('div', 'imagine-cell');
    cell.setAttribute('role', 'gridcell');
    cell.tabIndex = -1;
    cell.setAttribute('aria-label', `${c.name}, drawing ${column + 1}`);
    cell.append(element('canvas'));
    cell.addEventListener('click', () => {
      this.roam(row, column);
      this.take();
    });
    this.cells.set(`${row}.${column}`, cell);
    return cell;
  }

  /** Shows a version's picture, which has a row for each of its `class_ids`; a class it did not know stays empty. */
  paint(version, bitmap) {
    this.shown = version;
    const { width, height } = version;
    this.classes.forEach((c, row) => {
      const from = version.class_ids.indexOf(c.id);
      for (let column = 0; column < this.columns; column++) {
        const cell = this.cells.get(`${row}.${column}`);
        const canvas = cell.firstElementChild;
        const known = from >= 0 && column < version.n;
        if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
        const pen = canvas.getContext('2d');
        pen.clearRect(0, 0, width, height);
        if (known) pen.drawImage(bitmap, column * width, from * height, width, height, 0, 0, width, height);
        cell.classList.toggle('unknown', !known);
        cell.setAttribute('aria-disabled', String(!known));
      }
    });
    this.fit();
  }

  /** As large as the panel allows, small images by whole factors. */
  fit() {
    if (!this.shown || !this.box.clientWidth) return;
    const { width, height } = this.shown;
    const names = this.box.querySelector('.imagine-name')?.offsetWidth ?? 0;
    const wide = (this.box.clientWidth - names - 2 * GAP) / this.columns - GAP;
    const tall = Math.max(48, TALLEST / Math.max(1, this.classes.length) - GAP) * (width / height);
    const room = Math.max(LEAST, Math.min(wide, tall));
    const factor = room >= width ? Math.floor(room / width) : room / width;
    this.box.style.setProperty('--w', `${width * factor}px`);
    this.box.style.setProperty('--h', `${height * factor}px`);
    this.box.classList.toggle('pixelated', factor >= 1);
    this.box.classList.toggle('small', width * factor < 40);
  }

  /** Marks the drawings that are ends of the way: [[class id, column], ...]. */
  mark(ends) {
    this.ends = ends;
    for (const [key, cell] of this.cells) {
      const [row, column] = key.split('.').map(Number);
      const place = ends.findIndex((end) => end && end[0] === this.classes[row].id && end[1] === column);
      cell.dataset.end = place < 0 ? '' : ['From', 'To'][place];
      cell.setAttribute('aria-selected', String(place >= 0));
    }
  }

  // ---------- keys ----------

  roam(row, column, focus = true) {
    this.cells.get(this.at.join('.'))?.setAttribute('tabindex', '-1');
    this.at = [row, column];
    const cell = this.cells.get(this.at.join('.'));
    if (!cell) return;
    cell.tabIndex = 0;
    if (focus) cell.focus();
  }

  take() {
    const [row, column] = this.at;
    if (!this.cells.get(this.at.join('.')).classList.contains('unknown')) this.choose(this.classes[row].id, column);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [row, column] = this.at;
    const last = [this.classes.length - 1, this.columns - 1];
    const to = {
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      Home: [row, 0],
      End: [row, last[1]],
    }[event.key];
    if (to) this.roam(Math.min(Math.max(to[0], 0), last[0]), Math.min(Math.max(to[1], 0), last[1]));
    else if (event.key === 'Enter' || event.key === ' ') this.take();
    else return;
    event.preventDefault();
  }
}

export const labelsOf = (version) => `${number(version.labels)} ${version.labels === 1 ? 'label' : 'labels'}`;
