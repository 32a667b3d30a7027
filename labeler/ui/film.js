// The filmstrip: the newest answers, oldest on the left; a click brings one back to be corrected.

import { element, number } from './dom.js';
import { changeWords } from './pace.js';
import { WORDS } from './words.js';

const LONGEST = 60;
const NEAR = 2; // pixels from the end that are none

export class Film {
  /** @param open called with the entry that was clicked */
  constructor(root, classes, open) {
    Object.assign(this, { classes, open, flips: {} });
    this.strip = root.querySelector('.film');
    this.back = false; // scrolled back by hand
    this.strip.addEventListener('scroll', () => this.scrolled());
    new ResizeObserver(() => this.resized()).observe(this.strip); // shown again, too
    this.entries = []; // {question, kind, class_id}, oldest first, one for each sample
    this.tiles = new Map(); // sample id -> button
  }

  // ---------- what is in sight ----------

  newest() {
    this.back = false;
    requestAnimationFrame(() => this.back || (this.strip.scrollLeft = this.strip.scrollWidth)); // laid out by then
  }

  /** A strip that is hidden, or that has just become wider, was scrolled by nobody. */
  scrolled() {
    const { clientWidth: width, scrollLeft, scrollWidth } = this.strip;
    if (width && width === this.width) this.back = scrollLeft + width < scrollWidth - NEAR;
  }

  resized() {
    this.width = this.strip.clientWidth;
    if (this.width && !this.back) this.newest();
  }

  // ---------- entries ----------

  find(sampleId) {
    return this.entries.find((entry) => entry.question.sample_id === sampleId);
  }

  /** The state of a sample before an answer, to be given to `restore` when it is undone. */
  before(sampleId) {
    const entry = this.find(sampleId);
    return entry ? { kind: entry.kind, class_id: entry.class_id } : null;
  }

  put(question, kind, classId) {
    let entry = this.find(question.sample_id);
    if (!entry) {
      entry = { question };
      this.entries.push(entry);
      const tile = this.tile(entry);
      this.tiles.set(question.sample_id, tile);
      this.strip.append(tile);
      if (this.entries.length > LONGEST) this.remove(this.entries[0].question.sample_id);
    }
    Object.assign(entry, { kind, class_id: classId });
    this.paint(entry);
    this.strip.classList.remove('empty');
    if (entry === this.entries.at(-1)) this.newest();
  }

  restore(question, before) {
    if (before) this.put(question, before.kind, before.class_id);
    else this.remove(question.sample_id);
  }

  remove(sampleId) {
    this.entries = this.entries.filter((entry) => entry.question.sample_id !== sampleId);
    this.tiles.get(sampleId)?.remove();
    this.tiles.delete(sampleId);
    this.strip.classList.toggle('empty', !this.entries.length);
  }

  /** The neighbour in time: -1 older, +1 newer; from no entry the newest; null past the newest end. */
  neighbour(entry, step) {
    if (!entry) return step < 0 ? (this.entries.at(-1) ?? null) : null;
    const place = this.entries.indexOf(entry) + step;
    return place < 0 ? entry : (this.entries[place] ?? null);
  }

  /** Marks the entry that is on the stage. */
  select(entry) {
    for (const [id, tile] of this.tiles) tile.setAttribute('aria-current', String(entry?.question.sample_id === id));
    if (entry) this.tiles.get(entry.question.sample_id)?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  /** What the answers changed: sample id -> what GET /labeler/changed tells. */
  changed(of) {
    this.flips = of;
    for (const entry of this.entries) this.paint(entry);
  }

  word({ kind, class_id: classId }) {
    return kind === 'label' ? this.classes.name(classId) : WORDS[kind];
  }

  tile(entry) {
    const button = element('button', 'tile');
    button.type = 'button';
    button.dataset.sampleId = entry.question.sample_id;
    const image = element('img');
    image.src = entry.question.thumb;
    image.alt = '';
    image.draggable = false;
    image.classList.toggle('pixelated', Math.max(entry.question.width, entry.question.height) <= 64);
    button.append(image, element('span'), element('b', 'flips'));
    button.addEventListener('click', () => this.open(this.find(entry.question.sample_id)));
    return button;
  }

  paint(entry) {
    const tile = this.tiles.get(entry.question.sample_id);
    const word = this.word(entry);
    tile.style.setProperty('--c', entry.kind === 'label' ? this.classes.colour(entry.class_id) : 'var(--quiet)');
    tile.classList.toggle('open', entry.kind !== 'label');
    tile.querySelector('span').textContent = word;
    // A star: other answers or gradient steps are in the number, too; the words tell which.
    const change = entry.kind === 'label' ? this.flips[entry.question.sample_id] : undefined;
    const badge = tile.querySelector('.flips');
    badge.textContent = change ? `${number(change.flipped)}${change.answers > 1 || change.steps ? '*' : ''}` : '';
    badge.hidden = !change;
    tile.title = `${entry.question.name}: ${word}. ${change ? `${changeWords(change)}. ` : ''}Click to correct.`;
    tile.setAttribute('aria-label', tile.title);
  }
}
