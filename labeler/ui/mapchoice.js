// What was chosen on the map: how many images, of which, and where they go.

import { Refused } from './api.js';
import { sitting } from './canvas.js';
import { element, number } from './dom.js';
import { openGrid } from './grid.js';
import { openTab } from './tabs.js';

const MOST = 100_000;
const LISTED = 6;
const OPEN_KIND = 0;
const LABEL_KIND = 1;

export class Choice {
  /** @param say tells the person something; @param clear chooses nothing */
  constructor(box, say, clear) {
    Object.assign(this, { box, say, clear, ids: [] });
  }

  /** @param points the images chosen, or null for none; @param entries, codes: as the legend counts them */
  show(points, data, entries, codes) {
    this.box.hidden = !points;
    this.ids = points ? points.map((i) => data.ids[i]) : [];
    if (!points) return this.box.replaceChildren();
    const kinds = data.facts.arrays.kind;
    const ofKind = (kind) => points.filter((i) => kinds[i] === kind).length;
    const [open, labeled] = [ofKind(OPEN_KIND), ofKind(LABEL_KIND)];
    const total = this.ids.length;
    const title = element('h2', '', total === 1 ? '1 image' : `${number(total)} images`);
    const others = total - open - labeled;
    const words = `${number(open)} open, ${number(labeled)} labeled${others ? `, ${number(others)} set aside` : ''}`;
    const close = this.button('×', () => this.clear());
    close.className = 'map-clear';
    close.setAttribute('aria-label', 'Choose nothing (Esc)');
    const named = total === 1 ? '1 from the map' : `${number(total)} from the map`;
    const actions = element('div', 'map-actions');
    actions.append(
      this.button('To the grid', () => this.toGrid(named, false), !open, 'primary'),
      this.button('Only these next', () => this.askNext(), !open),
      this.button('Labeled ones of them', () => this.toGrid(named, true), !labeled),
    );
    const head = element('header');
    head.append(title, close);
    this.box.replaceChildren(head, element('p', '', words), this.list(points, entries, codes), actions);
    if (this.told !== title.textContent) this.say(`${title.textContent} chosen: ${words}`);
    this.told = title.textContent;
  }

  list(points, entries, codes) {
    const n = new Map();
    for (const i of points) n.set(codes[i], (n.get(codes[i]) ?? 0) + 1);
    const found = entries.filter((one) => n.get(one.code)).sort((a, b) => n.get(b.code) - n.get(a.code));
    const box = element('ul', 'map-which');
    for (const one of found.slice(0, LISTED)) {
      const row = element('li');
      const dot = element('i');
      dot.style.background = one.colour ?? 'var(--accent)';
      row.append(dot, element('span', '', one.name), element('b', '', number(n.get(one.code))));
      box.append(row);
    }
    if (found.length > LISTED) box.append(element('li', 'more', `and ${number(found.length - LISTED)} more classes`));
    return box;
  }

  button(text, action, disabled = false, className = '') {
    const made = element('button', className, text);
    made.type = 'button';
    made.disabled = disabled;
    made.addEventListener('click', action);
    return made;
  }

  toGrid(title, decided) {
    if (this.tooMany()) return;
    openGrid({ among: this.ids, decided, title });
  }

  /** The Label tab asks these until none of them is open. */
  async askNext() {
    if (this.tooMany()) return;
    const canvas = sitting();
    if (!canvas) return this.say('Say who is labeling first, on the Label tab.');
    try {
      await canvas.narrow({ sample_ids: this.ids, title: 'a part of the map' });
      openTab('label');
    } catch (problem) {
      if (problem instanceof Refused && problem.status === 401) return canvas.identify();
      this.fail(problem.message);
    }
  }

  tooMany() {
    if (this.ids.length <= MOST) return false;
    this.fail(`These are more than ${number(MOST)}. Choose fewer.`);
    return true;
  }

  fail(text) {
    this.say(text);
    this.box.querySelector('.map-problem')?.remove();
    this.box.append(element('p', 'map-problem', text));
  }
}
