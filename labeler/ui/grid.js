// The Grid tab: many images the model takes for one class. Mark the wrong ones, and one key labels all the others.

import { bus, call, firstState, Refused, state, uid } from './api.js';
import { sitting } from './canvas.js';
import { isTyping } from './dialogs.js';
import { element, number } from './dom.js';
import { digitOf, Keys } from './keys.js';
import { Marks } from './marks.js';

const SIZES = [24, 48, 96];
const RENEW = 45_000; // ms; a lease holds for two minutes
const SEEN = 5000; // images that come last because they were here before
const LONGEST = 10 * 60_000; // ms; a grid that was in sight for longer was not looked at all the time

let running = null;

/** Called by the page when the tab is first opened, and again if it renders the element anew. */
export async function start(host) {
  running?.stop();
  await firstState();
  running = new Grid(host.querySelector('.grid'));
}

class Grid {
  constructor(root) {
    Object.assign(this, { root, classId: null, alike: null, questions: [], perClass: {}, groups: [], seen: [], busy: false });
    this.order = localStorage.getItem('labeler.grid.order') ?? 'certain';
    this.size = Number(localStorage.getItem('labeler.grid.size')) || 48;
    this.marks = new Marks(root.querySelector('.grid-tiles'), () => this.paint());
    const listeners = new AbortController();
    const { signal } = listeners;
    this.toolbar();
    document.addEventListener('keydown', (event) => this.press(event), { signal });
    bus.addEventListener('state', ({ detail }) => this.heed(detail), { signal });
    bus.addEventListener('refused', ({ detail }) => this.say(`An answer could not be stored: ${detail.reason}`), { signal });
    const seen = new IntersectionObserver(([entry]) => (entry.isIntersecting ? this.appear() : this.leave()));
    root.hidden = false;
    seen.observe(root);
    const timer = setInterval(() => this.renew(), RENEW);
    this.stop = () => {
      listeners.abort();
      seen.disconnect();
      clearInterval(timer);
    };
  }

  // ---------- the server ----------

  /** The grid holds images as a tab of its own would, so that what it shows is not asked on the canvas as well. */
  async post(path, body) {
    const { key, client } = sitting();
    try {
      return await call(path, { project: key, client: `${client}-grid`, ...body });
    } catch (problem) {
      if (problem instanceof Refused && problem.status === 401) await sitting().identify();
      throw problem;
    }
  }

  async fetch() {
    this.again = this.busy; // something else was chosen while an answer was on its way
    if (this.busy || !sitting()) return;
    this.busy = true;
    this.asked = state().ranking;
    this.paint();
    const { size: n, classId, order, seen, alike } = this;
    try {
      const answer = await this.post('grid', { n, class_id: classId, order, seen, alike: alike?.sample_id ?? null });
      this.questions = answer.questions;
      this.perClass = answer.per_class;
      this.classId ??= answer.questions[0]?.guess ?? null;
      this.problem = null;
      this.begun = performance.now();
      this.marks.show(this.questions);
    } catch (problem) {
      this.problem = problem;
    }
    this.busy = false;
    this.paint();
    if (this.again) this.fetch();
  }

  /** The state of the project as the poll brings it: an empty grid asks again when there is something new. */
  heed({ ranking }) {
    const empty = !this.questions.length && !this.busy && !this.waiting;
    if (this.shown && empty && (this.problem || ranking !== this.asked)) this.fetch();
    else this.paint();
  }

  /** In sight again: what it held is held again where it is still open, else there are new images. */
  async appear() {
    this.shown = true;
    this.marks.box.focus({ preventScroll: true });
    if (this.questions.length) await this.renew();
    if (!this.questions.length) this.fetch();
  }

  leave() {
    if (!this.shown) return;
    this.shown = false;
    this.post('release', { sample_ids: [] }).catch(() => {});
  }

  async renew() {
    if (!this.shown || document.visibilityState !== 'visible' || !this.questions.length) return;
    const mine = this.questions.map((question) => question.sample_id);
    const { held } = await this.post('renew', { sample_ids: mine }).catch(() => ({ held: mine }));
    this.questions = this.questions.filter((question) => held.includes(question.sample_id));
    this.marks.keep(held);
    this.paint();
  }

  // ---------- answers ----------

  /** The images that were not marked are what the grid asks about; a marked one stays open, or is what it was marked as. */
  confirm() {
    if (this.busy || !this.questions.length || this.target() === null) return;
    const decided = this.questions.map((question) => [question, this.marks.as(question.sample_id, this.target())]);
    this.answer(decided.filter(([, classId]) => classId !== null));
  }

  answer(decided) {
    if (!decided.length) return this.next();
    const groupId = uid();
    const ms = Math.round(Math.min(LONGEST, performance.now() - this.begun) / this.questions.length);
    const operations = decided.map(([question, classId]) => ({
      uid: uid(),
      kind: 'label',
      sample_id: question.sample_id,
      class_id: classId,
      ms,
      group_id: groupId,
      ...shown(question),
    }));
    this.groups.push(operations);
    sitting().outbox.push(...operations);
    this.say(`${number(operations.length)} labeled. Backspace takes them back.`);
    this.next();
  }

  /** Others in their place. What was marked as wrong is open again, for the canvas to ask, and comes last here. */
  next() {
    this.alike = null;
    this.seen = [...this.seen, ...this.questions.map((question) => question.sample_id)].slice(-SEEN);
    this.clear();
    this.afterwards(() => this.fetch());
  }

  clear() {
    this.questions = [];
    this.marks.show([]);
    this.paint();
  }

  /** Once the answers are on their way and stored, so that the server does not bring them once more. */
  async afterwards(then) {
    this.waiting = true;
    this.paint();
    const { outbox } = sitting();
    for (let waited = 0; outbox.pending && waited < 3000; waited += 50) await new Promise((resolve) => setTimeout(resolve, 50));
    this.waiting = false;
    then();
  }

  undo() {
    const group = this.groups.pop();
    if (!group) return this.say('Nothing to undo in the grid');
    const undos = group.map(({ uid: undoes, sample_id: sampleId, group_id: groupId }) => ({
      uid: uid(),
      kind: 'undo',
      sample_id: sampleId,
      undoes,
      group_id: groupId,
    }));
    sitting().outbox.push(...undos);
    this.say(`Undone: ${number(undos.length)} labels`);
    this.clear();
    this.afterwards(() => this.fetch());
  }

  /** The class that the images which are not marked get. */
  target() {
    const classId = this.alike ? this.alikeAs : this.classId;
    return this.known().some((one) => one.id === classId) ? classId : null;
  }

  // ---------- what is chosen ----------

  known() {
    return state()?.classes ?? [];
  }

  /** Another class: its images, or for images like a chosen one, what they are. */
  choose(classId) {
    if (this.alike) {
      this.alikeAs = classId;
      return this.paint();
    }
    this.classId = classId;
    this.fetch();
  }

  step(by) {
    const ids = this.known().map((one) => one.id);
    const at = ids.indexOf(this.target());
    if (ids.length) this.choose(ids[(at + by + ids.length) % ids.length]);
  }

  more() {
    const id = this.marks.current();
    const question = this.questions.find((one) => one.sample_id === id);
    if (!question) return;
    this.alike = question;
    this.alikeAs = this.marks.as(id, this.target()) ?? question.guess ?? null;
    this.fetch();
  }

  /** First the marks go, then the images like a chosen one. */
  escape() {
    if (this.marks.marks.size || !this.alike) return this.marks.clear();
    this.alike = null;
    this.fetch();
  }

  toolbar() {
    const sizes = this.root.querySelector('.grid-size select');
    sizes.append(...SIZES.map((n) => new Option(String(n), String(n), false, n === this.size)));
    sizes.addEventListener('change', () => {
      this.size = Number(sizes.value);
      localStorage.setItem('labeler.grid.size', sizes.value);
      this.fetch();
      this.marks.box.focus({ preventScroll: true });
    });
    for (const button of this.root.querySelectorAll('[data-order]')) {
      button.addEventListener('click', () => {
        this.order = button.dataset.order;
        localStorage.setItem('labeler.grid.order', this.order);
        this.alike = null;
        this.fetch();
      });
    }
    for (const button of this.root.querySelectorAll('[data-key]')) {
      button.addEventListener('click', () => {
        this.action(button.dataset.key)();
        this.marks.box.focus({ preventScroll: true });
      });
    }
  }

  // ---------- keys ----------

  press(event) {
    const another = event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing;
    const inTiles = event.target === this.marks.box && !document.querySelector('dialog[open]');
    if (another || this.root.offsetParent === null || (!inTiles && isTyping(event.target))) return;
    const onButton = event.target.closest?.('button') && (event.key === 'Enter' || event.key === ' ');
    if (onButton && event.repeat) event.preventDefault(); // held, it would be pressed again and again
    if (onButton) return;
    const action = this.action(event.key, event.shiftKey, digitOf(event));
    if (!action) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith('Arrow')) action();
  }

  action(key, shift = false, digit = '') {
    const actions = {
      Enter: () => this.confirm(),
      ' ': () => this.marks.toggle(),
      '.': () => this.more(),
      PageDown: () => this.next(),
      Backspace: () => this.undo(),
      Escape: () => this.escape(),
      '[': () => this.step(-1),
      ']': () => this.step(+1),
    };
    if (Object.hasOwn(actions, key)) return actions[key];
    if (/^(Arrow|Home$|End$)/.test(key)) return () => this.marks.move(key, shift);
    const keys = new Keys(this.known(), state().keys);
    const classId = keys.classAt(key.toLowerCase()) ?? keys.classAt(digit);
    return classId === null ? null : () => this.marks.mark(classId);
  }

  // ---------- what is seen ----------

  paint() {
    const classes = this.known();
    const target = classes.find((one) => one.id === this.target());
    const chips = classes.map((one) => this.chip(one));
    const box = this.root.querySelector('.grid-classes');
    const focused = box.contains(document.activeElement) ? document.activeElement.dataset.classId : null;
    box.replaceChildren(...chips);
    if (focused) chips.find((chip) => chip.dataset.classId === focused)?.focus();
    for (const button of this.root.querySelectorAll('[data-order]')) {
      button.setAttribute('aria-pressed', String(button.dataset.order === this.order && !this.alike));
    }
    this.marks.paint(classes, (sampleId) => this.questions.find((one) => one.sample_id === sampleId)?.probs?.[this.target()]);
    this.root.querySelector('.grid-ask').replaceChildren(...this.words(target));
    const { length } = this.questions;
    const left = this.marks.left(this.questions);
    const confirm = this.root.querySelector('.grid-actions .primary');
    confirm.disabled = !length || !target || this.busy;
    confirm.firstElementChild.textContent = !target || !length ? 'Nothing to label' : `${number(length - left.open - left.other)} are ${target.name}`;
    this.root.style.setProperty('--c', target?.colour ?? 'var(--accent)');
    this.root.dataset.shown = String(length);
    this.root.dataset.busy = String(this.busy || Boolean(this.waiting));
  }

  chip(one) {
    const chip = element('button', 'grid-class');
    chip.type = 'button';
    chip.dataset.classId = one.id;
    chip.style.setProperty('--c', one.colour);
    const n = this.perClass[one.id] ?? 0;
    chip.setAttribute('aria-pressed', String(one.id === this.target()));
    chip.setAttribute('aria-label', `${one.name}, ${n} open images are taken for it`);
    chip.append(element('i'), element('span', '', one.name), element('b', '', number(n)));
    chip.addEventListener('click', () => {
      this.choose(one.id);
      this.marks.box.focus({ preventScroll: true }); // Enter confirms now, and presses no button
    });
    return chip;
  }

  words(target) {
    if (this.problem) return [element('b', '', 'The server did not answer. '), element('span', '', this.problem.message)];
    if (this.busy || this.waiting) return [element('span', '', 'Getting images…')];
    if (!state()?.version_labels) {
      return [element('b', '', 'The grid comes with the first model that knows a label. '), element('span', '', 'Label some images on the Label tab first.')];
    }
    if (!this.questions.length) return [element('b', '', target ? `No open image is taken for ${target.name}. ` : 'No image is open. ')];
    if (!target) return [element('b', '', 'Choose a class above: what are they?')];
    const name = element('b', '', target.name);
    const left = this.marks.left(this.questions);
    const more = left.open || left.other ? [element('span', 'grid-left', marked(left))] : [];
    if (this.alike) {
      const keys = element('span', 'grid-keys', 'Or choose another class above; Esc goes back. ');
      return [element('span', '', 'Like the image you chose. All '), name, element('span', '', '? Mark the others. '), keys, ...more];
    }
    const keys = element('span', 'grid-keys', 'Click, drag, or arrow keys and Space; a class key says what they are. ');
    return [element('span', '', 'All '), name, element('span', '', '? Mark the others. '), keys, ...more];
  }

  say(text) {
    this.root.querySelector('.lab-say').textContent = text;
    const ask = this.root.querySelector('.grid-ask');
    ask.dataset.said = text;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => delete ask.dataset.said, 4000);
  }
}

function marked({ open, other }) {
  const parts = [open ? `${number(open)} left open` : '', other ? `${number(other)} of another class` : ''];
  return parts.filter(Boolean).join(', ');
}

/** What an answer carries of what the grid showed. */
function shown({ version, acquisition, guess, probs }) {
  const known = { version, acquisition, predicted_class_id: guess, predicted_prob: probs?.[guess] };
  return Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined && value !== null));
}
