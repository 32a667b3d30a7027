// Images labeled as the chosen class, to be marked: as examples, or as a class of their own.

import { call } from './api.js';
import { columns, element, number } from './dom.js';

export class Labeled {
  /**
   * @param use async (sample ids) => makes examples of them; true where that was done
   * @param split async (name, sample ids) => makes a class of them; true where that was done
   */
  constructor(root, { use, split }) {
    Object.assign(this, { root, order: 'typical', id: null, images: [], marked: new Set(), at: 0 });
    this.$ = (selector) => root.querySelector(selector);
    this.box = this.$('.one-tiles');
    this.box.addEventListener('keydown', (event) => this.press(event));
    this.box.addEventListener('click', (event) => this.click(event));
    for (const button of root.querySelectorAll('[data-order]')) {
      button.addEventListener('click', () => {
        this.order = button.dataset.order;
        this.fetch();
      });
    }
    this.$('.use').addEventListener('click', () => this.done(() => use([...this.marked])));
    this.$('.more').addEventListener('click', () => this.fetch(this.images.length));
    this.$('.split').addEventListener('submit', (event) => {
      event.preventDefault();
      const { name } = event.target.elements;
      if (!this.marked.size) return this.note('Mark the images that go to the new class first');
      if (!name.value.trim()) return name.focus();
      return this.done(() => split(name.value.trim(), [...this.marked])).then((done) => done && (name.value = ''));
    });
  }

  /** Images of this class: fetched anew for another one, or where it has other labels now. */
  show({ id, labels }) {
    if (id === this.id && labels === this.labels) return;
    const another = id !== this.id;
    Object.assign(this, { id, labels });
    if (another) this.clear();
    if (another || !this.marked.size) this.fetch();
  }

  clear() {
    Object.assign(this, { images: [], at: 0 });
    this.marked.clear();
    this.box.replaceChildren();
  }

  async done(act) {
    if (!this.marked.size) return this.note('Mark images first: a click, or arrows and Space');
    const done = await act();
    if (!done) return null;
    this.marked.clear();
    await this.fetch();
    return done;
  }

  async fetch(offset = 0) {
    const { id, order } = this;
    const found = await call(`classes/${id}/images?order=${order}&offset=${offset}`).catch(() => null);
    if (!found || id !== this.id || order !== this.order) return;
    this.images = offset ? [...this.images, ...found.images] : found.images;
    for (const sampleId of this.marked) if (!this.images.some((one) => one.sample_id === sampleId)) this.marked.delete(sampleId);
    this.$('.more').hidden = order === 'typical' || this.images.length >= this.labels || !found.images.length;
    for (const button of this.root.querySelectorAll('[data-order]')) button.setAttribute('aria-pressed', String(button.dataset.order === order));
    this.box.replaceChildren(...this.images.map((one) => this.tile(one)));
    this.at = Math.min(this.at, Math.max(0, this.images.length - 1));
    this.paint();
  }

  tile(one) {
    const tile = element('div', 'one-tile');
    tile.setAttribute('role', 'option');
    tile.id = `labeled-${one.sample_id}`;
    tile.dataset.sampleId = one.sample_id;
    tile.title = one.name;
    tile.setAttribute('aria-label', one.name);
    const image = element('img', Math.max(one.width, one.height) <= 128 ? 'pixelated' : '');
    Object.assign(image, { src: one.thumb, alt: '', draggable: false });
    tile.append(image);
    return tile;
  }

  paint() {
    for (const [i, tile] of [...this.box.children].entries()) {
      tile.setAttribute('aria-selected', String(this.marked.has(Number(tile.dataset.sampleId))));
      tile.classList.toggle('at', i === this.at);
    }
    const here = this.box.children[this.at];
    if (here) this.box.setAttribute('aria-activedescendant', here.id);
    else this.box.removeAttribute('aria-activedescendant');
    const n = this.marked.size;
    this.box.hidden = !this.images.length;
    this.$('.one-do').hidden = !this.images.length;
    this.$('.one-order').hidden = !this.images.length;
    this.note(this.images.length ? (n ? `${number(n)} marked` : 'Mark some to use them as examples, or to split them off as a class of their own.') : 'No image is labeled so yet.');
    this.$('.use').textContent = n ? `Use ${number(n)} as ${n === 1 ? 'example' : 'examples'}` : 'Use as examples';
  }

  note(text) {
    const target = this.$('.one-tiles-note');
    if (target.textContent !== text) target.textContent = text;
  }

  toggle(place) {
    const id = this.images[place]?.sample_id;
    if (id === undefined) return;
    if (!this.marked.delete(id)) this.marked.add(id);
    this.at = place;
    this.paint();
  }

  click(event) {
    const place = [...this.box.children].indexOf(event.target.closest('.one-tile'));
    if (place >= 0) this.toggle(place);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.images.length - 1;
    const down = columns([...this.box.children]);
    const to = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, ArrowUp: this.at - down, ArrowDown: this.at + down, Home: 0, End: last }[event.key];
    if (event.key === ' ') {
      if (!event.repeat) this.toggle(this.at);
    } else if (to === undefined) return;
    else if (to >= 0 && to <= last) {
      this.at = to;
      this.paint();
      this.box.children[to].scrollIntoView({ block: 'nearest' });
    }
    event.preventDefault();
  }
}
