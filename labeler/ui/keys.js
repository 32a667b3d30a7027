// Which key does what: the project's keys of its classes and our own for everything else, unless this person chose others.
// And which presses of keys a screen hears.

import { isTyping } from './dialogs.js';

/** What can be given another key: [name, its key, what it does]. */
export const ACTIONS = [
  ['skip', 's', 'Skip'],
  ['unsure', 'u', 'Unsure'],
  ['flag', 'f', 'Flag'],
  ['hints', 'm', 'Model hints'],
  ['zoom', 'z', 'Zoom'],
  ['queue', 'q', 'What is asked next'],
  ['guide', 'g', 'Guideline'],
  ['example', 'e', 'Use as example'],
];

/** Keys that stay what they are, and the words for it. */
export const FIXED = new Map([
  [' ', 'Space skips'],
  ['/', '/ finds a class by its name'],
  ['?', '? opens the help'],
  ['+', '+ zooms in'],
  ['=', '= zooms in'],
  ['-', '- zooms out'],
  [',', ', and . change the brightness'],
  ['.', ', and . change the brightness'],
  ['<', '< and > change the contrast'],
  ['>', '< and > change the contrast'],
  [';', '; and : change the contrast'],
  [':', '; and : change the contrast'],
]);

const BOUNCE = 40; // ms in which no hand presses twice: a worn key does, and a finger that comes down on two

let pressedAt = -BOUNCE;

/** True for the press of a key that follows another so closely that nobody saw what it would answer. */
export function bounces({ timeStamp }) {
  const since = timeStamp - pressedAt;
  pressedAt = timeStamp;
  return since < BOUNCE;
}

/** True for Enter or Space on a button or link that has the focus: it does what it says, once, however long the key is held. */
export function pressesButton(event) {
  const presses = (event.key === 'Enter' || event.key === ' ') && Boolean(event.target.closest?.('button, a'));
  if (presses && event.repeat) event.preventDefault();
  return presses;
}

/** True for a key that a screen does not hear: it is out of sight, or the key belongs to something else.
 *  @param list a list in the screen that has the focus for the screen's own keys */
export function isElsewhere(event, screen, list = null) {
  const used = event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing;
  if (used || screen.offsetParent === null) return true;
  const inList = event.target === list && !document.querySelector('dialog[open]');
  return (!inList && isTyping(event.target)) || pressesButton(event);
}

export class Keys {
  /** @param own {'class:3': 'a', skip: 'x', ...}: what this person chose; '' for no key */
  constructor(classes, own) {
    this.own = own;
    this.of = new Map(); // target -> key; targets are 'class:ID' and the names of actions
    this.at = new Map(); // key -> target
    const targets = [...classes.map((c) => [`class:${c.id}`, c.key]), ...ACTIONS];
    for (const [target] of targets) if (target in own) this.give(target, own[target]);
    for (const [target, key] of targets) if (!(target in own)) this.give(target, key);
  }

  /** The first to claim a key has it. */
  give(target, key) {
    const free = key && !this.at.has(key.toLowerCase());
    this.of.set(target, free ? key.toLowerCase() : '');
    if (free) this.at.set(key.toLowerCase(), target);
  }

  /** The class id that a key labels as; null for any other key. */
  classAt(key) {
    const target = this.at.get(key);
    return target?.startsWith('class:') ? Number(target.slice('class:'.length)) : null;
  }

  ofClass(classId) {
    return this.of.get(`class:${classId}`) ?? '';
  }

  /** What `own` becomes when `target` gets this key. Who had it gets the key that becomes free. */
  exchanged(target, key) {
    const other = this.at.get(key);
    const own = { ...this.own, [target]: key };
    if (other && other !== target) own[other] = this.of.get(target);
    return [own, other === target ? undefined : other];
  }
}

/** The digit of a key of the digit row, '' for any other key: where digits need Shift, the place alone is a digit. */
export const digitOf = ({ code, shiftKey }) => (!shiftKey && /^Digit\d$/.test(code) ? code.at(-1) : '');

/** How a key is shown. */
export const shown = (key) => (key === ' ' ? 'Space' : key.toUpperCase());
