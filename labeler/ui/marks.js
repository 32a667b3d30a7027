// The tiles of the grid: which one the keys are on, and which are marked as wrong, or as another class.

import { columns, element, percent } from './dom.js';

const OPEN = 0; // marked as wrong, without saying what it is
const SIDES = [56, 168]; // pixels of a tile
const GAP = 6;

export class Marks {
  /** @param box the element that holds the tiles
   *  @param changed called after every mark */
  constructor(box, changed) {
    Object.assign(this, { box, changed, tiles: [], marks: new Map(), at: 0, anchor: 0, drag: null });
    box.addEventListener('pointerdown', (event) => this.down(event));
    box.addEventListener('pointerover', (event) => this.over(event));
    window.addEventListener('pointerup', () => (this.drag = null));
    box.addEventListener('dragstart', (event) => event.preventDefault());
    new ResizeObserver(() => this.fit()).observe(box);
  }

  /** Tiles for these questions, with the marks of those that had some before. */
  show(questions, marks = new Map()) {
    this.marks = new Map(questions.map(({ sample_id: id }) => [id, marks.get(id)]).filter(([, mark]) => mark !== undefined));
    this.at = this.anchor = 0;
    this.tiles = questions.map((question) => this.tile(question));
    this.box.replaceChildren(...this.tiles);
    this.box.scrollTop = 0;
    this.fit();
    this.focus(0);
  }

  /** Tiles as large as all of them fit without scrolling; where they cannot, small ones in rows that are full. */
  fit() {
    const style = getComputedStyle(this.box);
    const width = this.box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) + GAP;
    const height = this.box.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom) + GAP;
    const holds = (side) => Math.floor(width / (side + GAP)) * Math.floor(height / (side + GAP)) >= this.tiles.length;
    const [least, most] = SIDES;
    let side = most;
    while (side > least && !holds(side)) side -= 1;
    if (!holds(side)) side = Math.floor(width / Math.max(1, Math.floor(width / (least + GAP)))) - GAP;
    this.box.style.setProperty('--side', `${side}px`);
  }

  /** Takes out the tiles of all other samples. */
  keep(sampleIds) {
    const gone = this.tiles.filter((tile) => !sampleIds.includes(Number(tile.dataset.sampleId)));
    if (!gone.length) return;
    gone.forEach((tile) => {
      this.marks.delete(Number(tile.dataset.sampleId));
      tile.remove();
    });
    this.tiles = this.tiles.filter((tile) => !gone.includes(tile));
    this.focus(Math.min(this.at, this.tiles.length - 1));
  }

  tile(question) {
    const tile = element('div', 'grid-tile');
    tile.setAttribute('role', 'option');
    tile.id = `grid-${question.sample_id}`;
    tile.dataset.sampleId = question.sample_id;
    const image = element('img');
    image.src = question.thumb;
    image.alt = '';
    image.draggable = false;
    image.classList.toggle('pixelated', Math.max(question.width, question.height) <= 64);
    tile.append(image, element('span', 'grid-sure'), element('span', 'grid-as'));
    tile.title = question.name;
    tile.dataset.name = question.name;
    return tile;
  }

  current() {
    return this.tiles.length ? Number(this.tiles[this.at].dataset.sampleId) : null;
  }

  /** What a sample is: the class asked about where it is not marked, the class it was marked as, or null for open. */
  as(sampleId, asked) {
    const mark = this.marks.get(sampleId);
    return mark === undefined ? asked : mark || null;
  }

  /** How many of the questions are marked: to stay open, or as another class. */
  left(questions) {
    const marks = questions.map((question) => this.marks.get(question.sample_id)).filter((mark) => mark !== undefined);
    const open = marks.filter((mark) => mark === OPEN).length;
    return { open, other: marks.length - open };
  }

  // ---------- marking ----------

  toggle() {
    const id = this.current();
    if (id === null) return;
    this.set([this.at], !this.marks.has(id));
  }

  /** A class for the image under the keys, and where that is marked as wrong, for all that are. */
  mark(classId, asked) {
    const here = this.tiles.slice(this.at, this.at + 1);
    const open = this.open();
    this.give(here.some((tile) => open.includes(tile)) ? open : here, classId, asked);
  }

  /** A class for every image marked as wrong, wherever the keys are. */
  markOpen(classId, asked) {
    this.give(this.open(), classId, asked);
  }

  open() {
    return this.tiles.filter((tile) => this.marks.get(Number(tile.dataset.sampleId)) === OPEN);
  }

  /** The class asked about is no mark. */
  give(tiles, classId, asked) {
    for (const tile of tiles) {
      const id = Number(tile.dataset.sampleId);
      if (classId === asked) this.marks.delete(id);
      else this.marks.set(id, classId);
    }
    this.changed();
  }

  clear() {
    this.marks.clear();
    this.changed();
  }

  /** Marked as wrong, or not. What is of another class already stays so on the way. */
  set(places, wrong) {
    for (const place of places) {
      const id = Number(this.tiles[place].dataset.sampleId);
      if (!wrong) this.marks.delete(id);
      else if (!this.marks.has(id)) this.marks.set(id, OPEN);
    }
    this.changed();
  }

  // ---------- pointer ----------

  place(event) {
    return this.tiles.indexOf(event.target.closest?.('.grid-tile'));
  }

  down(event) {
    const place = this.place(event);
    if (place < 0 || event.button !== 0) return;
    const wrong = !this.marks.has(Number(this.tiles[place].dataset.sampleId));
    if (event.shiftKey) this.set(range(this.anchor, place), wrong);
    else this.set([place], wrong);
    event.target.releasePointerCapture?.(event.pointerId); // a finger would hold the first tile
    this.drag = event.pointerType === 'mouse' ? wrong : null;
    this.anchor = place;
    this.focus(place);
    this.box.focus({ preventScroll: true });
    event.preventDefault();
  }

  over(event) {
    const place = this.place(event);
    if (this.drag === null || place < 0) return;
    this.set([place], this.drag);
    this.focus(place);
  }

  // ---------- keys ----------

  /** An arrow, Home or End; with Shift the images on the way are marked as the first one is. */
  move(key, shift) {
    if (!this.tiles.length) return;
    const last = this.tiles.length - 1;
    const down = columns(this.tiles);
    const to = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, ArrowUp: this.at - down, ArrowDown: this.at + down, Home: 0, End: last }[key];
    const place = key === 'Home' || key === 'End' || (to >= 0 && to <= last) ? to : this.at;
    if (shift) this.set(range(this.at, place), true);
    else this.anchor = place;
    this.focus(place);
  }

  focus(place) {
    this.tiles[this.at]?.classList.remove('at');
    this.at = Math.max(0, place);
    const tile = this.tiles[this.at];
    tile?.classList.add('at');
    tile?.scrollIntoView({ block: 'nearest' });
    if (tile) this.box.setAttribute('aria-activedescendant', tile.id);
    else this.box.removeAttribute('aria-activedescendant');
  }

  /** Marks as they are; `sure` gives a sample's probability of the class asked about, to be written on its tile.
   *  `label`: the name of the class that all of them are labeled as, where they are. */
  paint(classes, sure, label = '') {
    for (const tile of this.tiles) {
      const id = Number(tile.dataset.sampleId);
      const [mark, probability] = [this.marks.get(id), sure(id)];
      tile.querySelector('.grid-sure').textContent = probability === undefined ? '' : percent(probability);
      const other = classes.find((one) => one.id === mark);
      tile.classList.toggle('wrong', mark !== undefined);
      tile.style.setProperty('--o', other?.colour ?? 'var(--bad)');
      tile.querySelector('.grid-as').textContent = other?.name ?? (mark === OPEN ? '' : label);
      tile.setAttribute('aria-selected', String(mark !== undefined));
      const word = mark === undefined ? label && `, labeled ${label}` : other ? `, marked as ${other.name}` : ', marked as wrong';
      tile.setAttribute('aria-label', `${tile.dataset.name}${word}`);
    }
  }
}

function range(from, to) {
  const [first, last] = from < to ? [from, to] : [to, from];
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
