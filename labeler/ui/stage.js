// The stage: one image as large as it stays honest. Small ones grow by whole factors with hard pixels, large ones never
// beyond 1.5x.

import { load } from './queue.js';

const SMALL = 128; // pixels of the longer side; pictures up to this are shown pixel by pixel
const CALM = 480; // screen pixels they grow to; beyond that the eye sees squares and no picture
const LARGEST = 1.5;
const MARGIN = 24;

export class Stage {
  constructor(root) {
    this.view = root.querySelector('.stage-view');
    this.frame = root.querySelector('.stage-image');
    this.message = root.querySelector('.stage-message');
    this.cue = root.querySelector('.stage-cue');
    this.question = null;
    this.shownAt = 0;
    this.actualSize = false;
    new ResizeObserver(() => this.fit()).observe(this.view);
  }

  /** Puts the question's picture on screen at once if it is decoded, otherwise as soon as it is. */
  show(question) {
    this.question = question;
    this.shownAt = 0;
    if (!question) return this.frame.replaceChildren();
    this.message.hidden = true;
    const { picture } = question.picture ? question : load(question);
    if (picture.ready === null) {
      this.frame.replaceChildren();
      picture.done.then(() => this.question === question && this.show(question));
    } else if (picture.ready) {
      this.frame.replaceChildren(picture.element);
      this.fit();
      this.shownAt = performance.now();
      requestAnimationFrame((time) => this.question === question && (this.shownAt = Math.max(this.shownAt, time)));
    } else {
      this.frame.replaceChildren();
      this.say('This image cannot be shown.', 'It may have been moved or damaged. Skip it with S or flag it with F.');
      question.broken = true;
    }
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
    this.message.hidden = false;
  }

  toggleZoom() {
    this.actualSize = !this.actualSize;
    this.view.classList.toggle('actual', this.actualSize);
    this.fit();
    return this.actualSize;
  }

  fit() {
    const image = this.frame.querySelector('img');
    if (!image || !image.naturalWidth) return;
    const { naturalWidth: width, naturalHeight: height } = image;
    const room = Math.min((this.view.clientWidth - MARGIN) / width, (this.view.clientHeight - MARGIN) / height);
    const factor = this.actualSize ? 1 : scale(room, Math.max(width, height));
    image.style.width = `${width * factor}px`;
    image.style.height = `${height * factor}px`;
    image.classList.toggle('pixelated', factor >= 2);
    this.view.scrollLeft = (this.view.scrollWidth - this.view.clientWidth) / 2;
    this.view.scrollTop = (this.view.scrollHeight - this.view.clientHeight) / 2;
  }

  /** A short word over the image: what the last key did. */
  flash(text, colour = null) {
    this.cue.lastElementChild.textContent = text;
    this.cue.firstElementChild.hidden = !colour;
    this.cue.style.setProperty('--c', colour);
    this.cue.classList.add('on');
    clearTimeout(this.flashing);
    this.flashing = setTimeout(() => this.cue.classList.remove('on'), 650);
  }
}

/** The factor an image is shown with: whole device pixels for small ones. */
export function scale(room, longest) {
  if (longest > SMALL || room < 1) return Math.min(room, LARGEST);
  const dense = window.devicePixelRatio || 1;
  return Math.max(1, Math.floor(Math.min(room, CALM / longest) * dense) / dense);
}
