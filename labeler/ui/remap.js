// The dialog in which a person gives classes and actions other keys. They are kept in the project under that person's
// name, so that they are there in any browser.

import { dialogOf } from './dialogs.js';
import { element } from './dom.js';
import { ACTIONS, digitOf, FIXED, shown } from './keys.js';

export class Remap {
  /**
   * @param get () => {classes, keys}
   * @param save async (own) => stores what this person chose, then the page follows it
   */
  constructor(root, get, save) {
    Object.assign(this, { root, get, save, waiting: null });
    this.dialog = dialogOf('remap');
    this.dialog.querySelector('.close').onclick = () => this.dialog.close();
    this.dialog.querySelector('.reset').onclick = () => this.store({}, 'All keys are as they were at first.');
    this.dialog.onkeydown = (event) => this.press(event);
    this.dialog.onclose = () => root.focus({ preventScroll: true });
  }

  open() {
    this.waiting = null;
    this.say('Press a button, then the key it should have.');
    this.draw();
    this.dialog.showModal();
  }

  draw() {
    const { classes, keys } = this.get();
    const rows = [...classes.map((c) => [`class:${c.id}`, c.name, c.colour]), ...ACTIONS.map(([name, , text]) => [name, text, null])];
    this.names = new Map(rows);
    const focused = this.dialog.contains(document.activeElement) ? document.activeElement.dataset.target : null;
    this.dialog.querySelector('.keys').replaceChildren(...rows.map((row) => this.row(row, keys.of.get(row[0]))));
    if (focused) this.button(focused)?.focus();
  }

  row([target, name, colour], key) {
    const row = element('div', 'key-row');
    const button = element('button', '', key ? shown(key) : 'none');
    button.type = 'button';
    button.dataset.target = target;
    button.classList.toggle('waiting', target === this.waiting);
    button.setAttribute('aria-label', `${name}: ${key ? `key ${shown(key)}` : 'no key'}`);
    button.onclick = () => this.wait(target);
    const text = element('span', '', name);
    text.title = name;
    if (colour) text.style.setProperty('--c', colour);
    row.append(text, button);
    return row;
  }

  button(target) {
    return [...this.dialog.querySelectorAll('.keys button')].find((one) => one.dataset.target === target);
  }

  wait(target) {
    this.waiting = target;
    this.draw();
    this.say(`Press the key for ${this.names.get(target)}. Backspace: no key. Esc: as it is.`);
  }

  press(event) {
    if (!this.waiting || event.repeat || ['Shift', 'Tab'].includes(event.key)) return;
    event.preventDefault();
    const target = this.waiting;
    const name = this.names.get(target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') return this.stop('Press a button, then the key it should have.');
    if (event.key === 'Backspace') return this.store({ ...this.get().keys.own, [target]: '' }, `${name} has no key now.`);
    const key = digitOf(event) || event.key.toLowerCase();
    if (FIXED.has(key)) return this.say(`${FIXED.get(key)}, and stays so. Press another key.`);
    if (key.length !== 1) return this.say(`${event.key} cannot be taken. Press a letter, a digit or a sign.`);
    const { keys } = this.get();
    const before = keys.of.get(target);
    const [own, other] = keys.exchanged(target, key);
    const clash = other ? ` It was the key of ${this.names.get(other)}, which has ${before ? shown(before) : 'none'} now.` : '';
    return this.store(own, `${name} has ${shown(key)} now.${clash}`);
  }

  async store(own, said) {
    try {
      await this.save(own);
      this.stop(said);
    } catch (problem) {
      this.stop(`Not changed: ${problem.message}`);
    }
  }

  stop(said) {
    this.waiting = null;
    this.draw();
    this.say(said);
  }

  say(text) {
    this.dialog.querySelector('.remap-say').textContent = text;
  }
}
