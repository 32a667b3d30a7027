// The stage: one image as large as it stays honest. Small ones grow by whole factors with hard pixels, large ones never
// beyond 1.5x by themselves; the person may look closer (zoom.js).

import { load } from './queue.js';
import { Zoom } from './zoom.js';

const LARGE = 1_000_000; // pixels of a picture that takes more than a frame to be decoded and scaled

export class Stage {
  constructor(root) {
    this.view = root.querySelector('.stage-view');
    this.frame = root.querySelector('.stage-image');
    this.behind = root.querySelector('.stage-behind');
    this.message = root.querySelector('.stage-message');
    this.cue = root.querySelector('.stage-cue');
    this.saidUntil = 0;
    this.question = null;
    this.shownAt = 0;
    this.zoom = new Zoom(this.view, this.frame, () => this.showZoom());
    this.tools(root);
  }

  /** The buttons that do with the mouse what the keys do, and the two sliders. */
  tools(root) {
    const bar = root.querySelector('.stage-tools');
    this.bar = bar;
    const light = bar.querySelector('.light');
    const on = (selector, act) => bar.querySelector(selector).addEventListener('click', act);
    on('.nearer', () => this.zoom.step(1));
    on('.farther', () => this.zoom.step(-1));
    on('.factor', () => this.zoom.toggle());
    on('.reset-view', () => this.zoom.reset());
    on('.open-light', () => {
      light.hidden = !light.hidden;
      bar.querySelector('.open-light').setAttribute('aria-expanded', String(!light.hidden));
    });
    for (const what of ['brightness', 'contrast']) {
      const slider = light.querySelector(`[name=${what}]`);
      slider.addEventListener('input', () => this.zoom.shine(what, Number(slider.value)));
      slider.addEventListener('pointerup', () => root.focus({ preventScroll: true })); // the keys label again
    }
    const hold = light.querySelector('[name=hold]');
    hold.checked = this.zoom.held;
    hold.addEventListener('change', () => this.zoom.hold(hold.checked));
    hold.addEventListener('click', (event) => event.detail && root.focus({ preventScroll: true }));
  }

  /** The figures on the buttons. They are in sight where there is something to look closer at. */
  showZoom() {
    const { zoom, bar } = this;
    if (!zoom || !bar) return;
    bar.hidden = !zoom.image;
    bar.classList.toggle('quiet', zoom.small && !zoom.active);
    bar.querySelector('.factor').textContent = `${(100 * zoom.factor()).toFixed(zoom.factor() < 0.1 ? 1 : 0)}%`;
    bar.querySelector('.reset-view').hidden = !zoom.active;
    for (const what of ['brightness', 'contrast']) bar.querySelector(`[name=${what}]`).value = zoom.light[what];
  }

  /** Puts the question's picture on screen at once if it is decoded, otherwise as soon as it is. */
  show(question) {
    this.question = question;
    this.shownAt = 0;
    if (!question) return this.empty();
    this.message.hidden = true;
    this.view.classList.remove('loading');
    const { picture } = question.picture ? question : load(question);
    if (picture.ready === null) {
      this.empty();
      this.view.classList.add('loading');
      picture.done.then(() => this.question === question && this.show(question));
    } else if (picture.ready) {
      this.frame.replaceChildren(picture.element);
      this.zoom.renew();
      this.shownAt = performance.now();
      requestAnimationFrame((time) => this.question === question && (this.shownAt = Math.max(this.shownAt, time)));
    } else {
      this.empty();
      this.say('This image cannot be shown.', 'It may have been moved or damaged. Skip it, or flag it.');
      question.broken = true;
    }
  }

  /** Puts the next picture behind the one in sight, if it is large: the browser scales it for its place before its turn. */
  async prepare(question) {
    this.next = question;
    const ready = await question?.picture?.done;
    if (question !== this.next || (question && question === this.question)) return;
    const { element } = question?.picture ?? {};
    const large = ready && element.naturalWidth * element.naturalHeight >= LARGE;
    if (large) this.zoom.fit(element);
    this.behind.replaceChildren(...(large ? [element] : []));
  }

  empty() {
    this.view.classList.remove('loading');
    this.frame.replaceChildren();
    this.bar.hidden = true;
  }

  /** True when a person sees the image the question is about. */
  get visible() {
    return this.shownAt > 0;
  }

  /** Milliseconds since the image was painted. */
  elapsed() {
    return Math.max(0, Math.round(performance.now() - this.shownAt));
  }

  /** Words in the place of an image, with a command to type where one helps. */
  say(title, text, command = '') {
    const words = { b: title, span: text, code: command };
    for (const [selector, word] of Object.entries(words)) {
      const target = this.message.querySelector(selector);
      if (target.textContent !== word) target.textContent = word; // said anew, it would be read aloud anew
      target.hidden = !word;
    }
    this.message.querySelector('.lift').hidden = true;
    this.message.hidden = false;
  }

  /** A short word over the image: what the last key did. `ms`: a longer one; the name of a class does not take its place. */
  flash(text, colour = null, ms = 0) {
    if (!ms && colour && performance.now() < this.saidUntil) return;
    this.saidUntil = performance.now() + ms;
    this.cue.lastElementChild.textContent = text;
    this.cue.firstElementChild.hidden = !colour;
    this.cue.style.setProperty('--c', colour);
    this.cue.classList.add('on');
    clearTimeout(this.flashing);
    this.flashing = setTimeout(() => this.cue.classList.remove('on'), ms || 650);
  }
}
