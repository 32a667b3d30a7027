// Find a class by its name: '/' opens it, typing narrows, Enter answers, Esc leaves.

import { element } from './dom.js';

const MOST = 8;

export class Find {
  /**
   * @param classes () => the classes as they are now
   * @param opened () => what is asked at this moment; the answer is meant for that and for nothing that comes after it
   * @param choose (class id, what was asked) => called with the class that Enter or a click chose
   */
  constructor(root, { classes, opened, choose }) {
    Object.assign(this, { root, classes, opened, choose, place: 0, found: [] });
    this.box = root.querySelector('.find');
    this.input = this.box.querySelector('input');
    this.list = this.box.querySelector('[role=listbox]');
    this.input.addEventListener('input', () => this.narrow());
    this.input.addEventListener('keydown', (event) => this.press(event));
    this.input.addEventListener('blur', () => this.close(false));
    root.querySelector('.open-find').addEventListener('click', () => this.open());
  }

  open() {
    if (!this.box.hidden) return;
    this.asked = this.opened();
    this.box.hidden = false;
    this.input.value = '';
    this.narrow();
    this.input.focus({ preventScroll: true });
  }

  close(refocus = true) {
    if (this.box.hidden) return;
    this.box.hidden = true;
    if (refocus) this.root.focus({ preventScroll: true });
  }

  press(event) {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.mark((this.place + step + this.found.length) % this.found.length || 0);
    else if (event.key === 'Escape' || event.key === 'Tab') this.close();
    else if (event.key !== 'Enter') return;
    event.preventDefault();
    event.stopPropagation(); // none of these reaches the image
    if (event.key === 'Enter' && !event.repeat) this.take(this.found[this.place]);
  }

  take(c) {
    if (!c) return;
    this.close();
    this.choose(c.id, this.asked);
  }

  narrow() {
    this.found = matches(this.input.value, this.classes());
    this.list.replaceChildren(...this.found.map((c, i) => this.option(c, i)));
    const note = this.box.querySelector('.find-note');
    note.textContent = !this.input.value.trim() ? 'Type a part of a name' : this.found.length ? '' : 'No class has this in its name';
    note.hidden = !note.textContent;
    this.mark(0);
  }

  option(c, i) {
    const option = element('li', '', c.name);
    option.id = `lab-found-${i}`;
    option.setAttribute('role', 'option');
    option.style.setProperty('--c', c.colour);
    option.addEventListener('pointerdown', (event) => {
      event.preventDefault(); // the field keeps the focus until the answer is given
      this.take(c);
    });
    return option;
  }

  mark(place) {
    this.place = place;
    [...this.list.children].forEach((one, i) => one.setAttribute('aria-selected', String(i === place)));
    this.list.children[place]?.scrollIntoView({ block: 'nearest' });
    if (this.found.length) this.input.setAttribute('aria-activedescendant', `lab-found-${place}`);
    else this.input.removeAttribute('aria-activedescendant');
    this.input.setAttribute('aria-expanded', String(this.found.length > 0));
  }
}

/** Classes whose name has every word typed, in any order: first the one that is called so, then those that begin so, then
 *  those of which each word begins one, then those that have them inside. */
export function matches(typed, classes) {
  const words = plain(typed).split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const wanted = words.join(' ');
  const rank = (name) => {
    if (name.startsWith(wanted)) return name === wanted ? 0 : 1;
    if (!words.every((word) => name.includes(word))) return 9;
    const starts = [...name.matchAll(/(?<![\p{L}\p{N}])./gsu)].map((match) => match.index);
    return words.every((word) => starts.some((at) => name.startsWith(word, at))) ? 2 : 3;
  };
  const ranked = classes.map((c) => [rank(plain(c.name)), c]).filter(([n]) => n < 9);
  return ranked.sort((a, b) => a[0] - b[0]).slice(0, MOST).map(([, c]) => c);
}

/** Without case and accents, so that 'epee' finds 'Épée'. */
function plain(text) {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
}
