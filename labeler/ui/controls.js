// Keys and buttons of the labeling screen, and which of the canvas's doings each one means.

import { bus } from './api.js';
import { dialogOf, isTyping } from './dialogs.js';
import { element } from './dom.js';
import { bounces, digitOf, isElsewhere, shown } from './keys.js';

const PAN = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }; // with Shift; pixels
const LIGHT = {
  ',': ['brightness', -1],
  '.': ['brightness', 1],
  '<': ['contrast', -1], // Shift and , on many keyboards, where others have ;
  ';': ['contrast', -1],
  '>': ['contrast', 1],
  ':': ['contrast', 1],
};
const CALM = 400; // ms after an answer by name in which Enter does nothing: it may have been pressed twice
const ANSWERS = [
  ['undo', 'Undo', '⌫'],
  ['skip', 'Skip', 'Space'],
  ['unsure', 'Unsure', ''],
  ['flag', 'Flag', ''],
];

export class Controls {
  constructor(canvas) {
    this.canvas = canvas;
  }

  listen(signal) {
    const { canvas } = this;
    this.buttons(signal);
    document.addEventListener('keydown', (event) => (canvas.root.isConnected ? this.press(event) : canvas.stop()), { signal });
  }

  /** Shows the keys as they are now. */
  draw() {
    const { root, keys } = this.canvas;
    for (const [name, , fixed] of ANSWERS) root.querySelector(`.act-${name} kbd`).textContent = fixed || shown(keys.of.get(name));
    const marked = { '.hints': 'hints', '.open-guide': 'guide', '.use-example': 'example', '.fact-ask': 'queue' };
    for (const [selector, name] of Object.entries(marked)) root.querySelector(`${selector} kbd`).textContent = shown(keys.of.get(name));
  }

  press(event) {
    if (isElsewhere(event, this.canvas.root)) return;
    const action = this.action(event);
    if (!action) return;
    event.preventDefault();
    if (!event.repeat && !bounces(event)) action();
  }

  /** What a key does, or null. */
  action(event) {
    const { key, shiftKey } = event;
    const { canvas } = this;
    for (const one of [key.toLowerCase(), digitOf(event)]) {
      const classId = canvas.keys.classAt(one);
      if (classId !== null) return () => canvas.answer('label', classId);
      const name = canvas.keys.at.get(one);
      if (name) return () => this.act(name);
    }
    const { zoom } = canvas.stage;
    if (Object.hasOwn(LIGHT, key)) return () => zoom.lighten(...LIGHT[key]);
    if (shiftKey && Object.hasOwn(PAN, key)) return () => zoom.pan(...PAN[key]);
    const fixed = {
      ' ': () => this.act('skip'),
      '/': () => canvas.find.open(),
      '+': () => zoom.step(1),
      '=': () => zoom.step(1),
      '-': () => zoom.step(-1),
      Enter: () => (performance.now() - canvas.named < CALM ? null : canvas.accept()),
      Backspace: () => canvas.undo(),
      Escape: () => (canvas.correcting ? canvas.goBack() : zoom.reset()),
      ArrowLeft: () => canvas.walk(-1),
      ArrowRight: () => canvas.walk(+1),
    };
    return Object.hasOwn(fixed, key) ? fixed[key] : null;
  }

  /** What a button or a key that can be changed does (keys.js). */
  act(name) {
    const { canvas } = this;
    if (name === 'undo') return canvas.undo();
    if (name === 'hints') return canvas.toggleHints();
    if (name === 'zoom') return canvas.stage.zoom.toggle();
    if (name === 'queue') return canvas.wishes.open();
    if (name === 'guide') return canvas.guide.toggle();
    if (name === 'example') return canvas.useAsExample();
    return canvas.answer(name);
  }

  buttons(signal) {
    const { canvas } = this;
    const bar = canvas.root.querySelector('.actions');
    for (const [name, text] of ANSWERS) {
      const button = element('button', `act act-${name}`);
      button.type = 'button';
      button.append(element('span', '', text), element('kbd'));
      button.addEventListener('click', () => this.act(name));
      bar.append(button);
    }
    const on = (selector, act) => canvas.root.querySelector(selector).addEventListener('click', act);
    on('.hints', () => canvas.toggleHints());
    on('.open-guide', () => canvas.guide.toggle());
    on('.use-example', () => canvas.useAsExample());
    on('.back-to-queue', () => canvas.goBack());
    dialogOf('help').querySelector('.open-remap').onclick = () => {
      dialogOf('help').close();
      canvas.remap.open();
    };
    bus.addEventListener('help', () => canvas.openHelp(), { signal });
    bus.addEventListener('ask-goal', () => canvas.sitting.ask(), { signal });
    bus.addEventListener('rename', () => canvas.server.rename(), { signal });
    bus.addEventListener('signed-out', () => canvas.identify(), { signal });
    document.addEventListener('click', (event) => this.refocus(event), { signal });
  }

  /** A button keeps the focus after a mouse click, and Space or Enter would press it again. */
  refocus(event) {
    const { canvas } = this;
    if (event.detail === 0 || isTyping(event.target)) return; // detail 0: pressed by keyboard
    requestAnimationFrame(() => {
      const inSight = canvas.root.offsetParent !== null && !document.querySelector('dialog[open]');
      if (inSight) canvas.root.focus({ preventScroll: true });
    });
  }
}
