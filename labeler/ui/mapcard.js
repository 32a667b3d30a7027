// The image that is looked at on the map: a ring around its point, and a card beside it.

import { call, state } from './api.js';
import { element, percent } from './dom.js';

const WAIT = 30; // ms that a pointer rests before its image is fetched
const GAP = 16;
const NARROW = 520; // pixels; a card beside a point would cover what is around it
const KEPT = 500; // images of which is remembered what was told
const WORDS = { open: 'Not labeled', skip: 'Skipped', unsure: 'Unsure', flag: 'Flagged', disputed: 'People disagree' };

export class MapCard {
  constructor(box, ring, plane) {
    Object.assign(this, { box, ring, plane, i: null, told: new Map() });
  }

  /** New facts: what was told of images may be old. */
  set data(data) {
    if (this.facts !== data.facts) this.told.clear();
    this.facts = data.facts;
    this.ids = data.ids;
  }

  /** Of point i, or of none. */
  async show(i) {
    const same = i !== null && this.i === i;
    this.i = i;
    this.place();
    if (i === null) return (this.box.hidden = true);
    const id = this.ids[i];
    if (!this.told.has(id)) {
      if (!same) await new Promise((resolve) => setTimeout(resolve, WAIT));
      if (this.i !== i) return;
      const told = await call(`map/image/${id}`).catch(() => null);
      if (!told || this.i !== i) return;
      if (this.told.size > KEPT) this.told.clear();
      this.told.set(id, told);
    }
    this.fill(this.told.get(id));
    this.box.hidden = false;
    this.place();
  }

  fill(told) {
    const image = element('img');
    image.src = told.thumb;
    image.alt = '';
    image.classList.toggle('pixelated', Math.max(told.width, told.height) <= 64);
    const words = element('div');
    words.append(element('b', '', told.name), this.label(told));
    if (told.guess !== null) words.append(this.line(told.guess, `The model: ${this.name(told.guess)} ${percent(told.prob)}`));
    if (told.split === 'measure') words.append(element('span', 'quiet', 'Measures accuracy: no guess is shown'));
    else if (told.split === 'gold') words.append(element('span', 'quiet', 'Gold: tests the model'));
    else if (told.blind) words.append(element('span', 'quiet', 'Asked of several people: no guess is shown'));
    this.box.dataset.sampleId = told.sample_id;
    this.box.replaceChildren(image, words);
  }

  label({ kind, class_id: classId, annotator }) {
    if (kind !== 'label' || classId === null) return element('span', '', WORDS[kind] ?? 'A class that is archived');
    return this.line(classId, `${this.name(classId)}${annotator ? `, by ${annotator}` : ''}`);
  }

  line(classId, text) {
    const made = element('span', 'classed', text);
    made.style.setProperty('--c', state().classes.find((one) => one.id === classId)?.colour ?? 'var(--quiet)');
    return made;
  }

  name(classId) {
    return state().classes.find((one) => one.id === classId)?.name ?? '?';
  }

  /** Ring and card where the point is now. The card keeps within the map. */
  place() {
    const { plane, i, ring, box } = this;
    const [x, y] = i === null ? [-1, -1] : plane.pixelsOf(i);
    const out = x < 0 || y < 0 || x > plane.width || y > plane.height;
    ring.hidden = i === null || out;
    if (ring.hidden) return box.classList.add('out');
    const size = 2 * plane.radius() + 8;
    Object.assign(ring.style, { width: `${size}px`, height: `${size}px`, left: `${x - size / 2}px`, top: `${y - size / 2}px` });
    box.classList.remove('out');
    const { offsetWidth: width, offsetHeight: height } = box;
    if (plane.width < NARROW) {
      const opposite = y > plane.height / 2 ? GAP / 2 : plane.height - height - GAP / 2;
      box.style.transform = `translate(${GAP / 2}px, ${Math.round(opposite)}px)`;
      return;
    }
    const left = x + GAP + width < plane.width ? x + GAP : Math.max(0, x - GAP - width);
    const top = Math.min(Math.max(0, y - height / 2), Math.max(0, plane.height - height));
    box.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}
