// The guideline beside the canvas: what a class means, with examples. Of the class under the pointer or the focus, of an
// answer that is looked at again, or with hints on of the two classes that the model hesitates between.

import { call, state } from './api.js';
import { element } from './dom.js';

const KEPT = 'labeler.guide';
const PHONE = matchMedia('(max-width: 900px)');

export class Guide {
  constructor(root, classes) {
    Object.assign(this, { root, classes, of: {}, mark: null, pointed: null, last: null, torn: [], question: null });
    this.panel = root.querySelector('.guide');
    this.body = root.querySelector('.guide-body');
    this.select = root.querySelector('.guide select');
    const list = root.querySelector('.classes');
    const at = ({ target }) => this.point(Number(target.closest?.('.class')?.dataset.classId) || null);
    for (const type of ['pointerover', 'focusin']) list.addEventListener(type, (event) => event.pointerType !== 'touch' && at(event));
    for (const type of ['pointerleave', 'focusout']) list.addEventListener(type, () => this.point(null));
    this.select.addEventListener('change', () => this.pick());
    root.querySelector('.guide .close').addEventListener('click', () => this.toggle(false));
    this.toggle(localStorage.getItem(KEPT) === '1' && !PHONE.matches); // on a phone it would hide the classes
  }

  /** Opens or folds the panel; remembered. */
  toggle(open = this.panel.hidden) {
    this.panel.hidden = !open;
    this.root.classList.toggle('guided', open);
    this.root.querySelector('.open-guide').setAttribute('aria-expanded', String(open));
    if (!PHONE.matches) localStorage.setItem(KEPT, open ? '1' : '0');
    this.draw();
  }

  /** Fetched again whenever one of them is another. */
  async heed({ guidelines: mark }) {
    if (mark === this.mark || this.busy) return;
    this.busy = true;
    try {
      const answer = await call('guidelines');
      Object.assign(this, { of: answer.guidelines, mark: answer.mark });
      this.draw();
    } catch {
      // away: the next state asks again
    }
    this.busy = false;
  }

  isExample(classId, sampleId) {
    return Boolean(this.of[classId]?.examples.some((one) => one.sample_id === sampleId));
  }

  // ---------- which class ----------

  /** The image on screen. What the model thinks of it counts only where hints are shown: `hinting`. */
  follow(question, hinting, correcting) {
    if (question?.sample_id !== this.question?.sample_id) this.picked = null;
    this.question = question;
    this.torn = hinting ? likeliest(question.probs) : [];
    this.answered = correcting?.kind === 'label' ? this.classes.now(correcting.class_id)?.id : null;
    this.draw();
  }

  point(classId) {
    if (classId === this.pointed) return;
    this.pointed = classId;
    this.last = classId ?? this.last;
    this.draw();
  }

  pick() {
    this.picked = this.last = Number(this.select.value) || null;
    this.draw();
    if (!PHONE.matches) this.root.focus({ preventScroll: true }); // the keys label again
  }

  /** Class ids: at most two. */
  which() {
    const one = this.pointed ?? this.picked ?? this.answered;
    const wanted = one ? [one] : this.torn.length ? this.torn : [this.last];
    return wanted.filter((id) => this.classes.byId.has(id));
  }

  // ---------- what is seen ----------

  draw() {
    if (this.panel.hidden) return;
    const ids = this.which();
    const shown = ids.map((id) => this.told(id));
    const now = JSON.stringify([shown, ids, this.classes.classes.map(({ id, name }) => [id, name])]);
    if (now === this.drawn) return;
    this.drawn = now;
    const none = new Option(ids.length > 1 ? 'Two classes' : 'Choose a class', '');
    none.hidden = ids.length === 1;
    this.select.replaceChildren(none, ...this.classes.classes.map(({ id, name }) => new Option(name, String(id))));
    this.select.value = ids.length === 1 ? String(ids[0]) : '';
    this.body.replaceChildren(...(ids.length ? ids.map((id, i) => this.part(id, shown[i])) : [this.nothing()]));
    this.body.scrollTop = 0;
  }

  /** An example is never the image on screen. */
  told(id) {
    const { text = '', examples = [] } = this.of[id] ?? {};
    return { text, examples: examples.filter((one) => one.sample_id !== this.question?.sample_id) };
  }

  part(id, { text, examples }) {
    const part = element('section', 'guide-part');
    part.style.setProperty('--c', this.classes.colour(id));
    part.append(element('h3', '', this.classes.name(id)));
    if (examples.length) {
      const strip = element('div', 'guide-examples');
      strip.append(...examples.map(picture));
      part.append(strip);
    }
    if (text) part.append(element('p', 'guide-text', text));
    if (!text && !examples.length) part.append(element('p', 'guide-none', `No guideline yet. ${WRITE()}`));
    return part;
  }

  nothing() {
    const any = Object.keys(this.of).length > 0;
    const words = any ? 'Point at a class, or reach it with Tab, and what it means stands here.' : `No class has a guideline yet. ${WRITE()}`;
    return element('p', 'guide-none', words);
  }
}

const WRITE = () => (state()?.role === 'annotator' ? 'A reviewer writes them.' : 'The tab Classes is the place to write one.');

function picture({ name, thumb, width, height }) {
  const image = element('img', Math.max(width, height) <= 128 ? 'pixelated' : '');
  Object.assign(image, { src: thumb, alt: `Example: ${name}`, title: name, draggable: false });
  return image;
}

/** The two classes with the largest probabilities. */
function likeliest(probs) {
  const ids = Object.keys(probs).map(Number);
  return ids.sort((a, b) => probs[b] - probs[a]).slice(0, 2);
}
