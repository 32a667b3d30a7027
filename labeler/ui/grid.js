// The Grid tab: many images the model takes for one class. Mark the wrong ones, and one key labels all the others.

import { bus, call, firstState, Refused, state, uid } from './api.js';
import { sitting } from './canvas.js';
import { chip as chosenChip, keep, kept } from './chosen.js';
import { element, number } from './dom.js';
import { bounces, digitOf, isElsewhere, Keys } from './keys.js';
import { Marks } from './marks.js';
import { openTab } from './tabs.js';

const SIZES = [24, 48, 96];
const RENEW = 45_000; // ms; a lease holds for two minutes
const SEEN = 5000; // images that come last because they were here before
const GROUPS = 5; // newest confirmations that a reload keeps to be undone
const ROOM = 1_000_000; // characters that they may take
const LONGEST = 10 * 60_000; // ms; a grid that was in sight for longer was not looked at all the time

let running = null;
let given; // the set that was chosen in this page's life, null once it was taken off

/** Called by the page when the tab is first opened, and again if it renders the element anew. */
export async function start(host) {
  running?.stop();
  const { key } = await firstState();
  const resumes = given === undefined; // nothing was chosen since the page was loaded
  running = new Grid(host.querySelector('.grid'), resumes ? kept(key) : given, resumes);
}

/** Opens the tab on these images: the open ones of them, or with `decided` the labeled ones, to be corrected.
 *  @param among sample ids, 100,000 at most
 *  @param title what they are, as '412 from the map' */
export function openGrid({ among, decided = false, title }) {
  given = { project: state().key, among: [...among], decided, title };
  keep(given);
  running?.take(given);
  openTab('grid');
}

class Grid {
  constructor(root, chosen, resumes) {
    Object.assign(this, { root, classId: null, alike: null, questions: [], perClass: {}, groups: [], seen: [], busy: false });
    Object.assign(this, { resumes, keep: null });
    this.size = Number(localStorage.getItem('labeler.grid.size')) || 48;
    this.marks = new Marks(root.querySelector('.grid-tiles'), () => this.changed());
    const listeners = new AbortController();
    const { signal } = listeners;
    this.toolbar();
    document.addEventListener('keydown', (event) => this.press(event), { signal });
    bus.addEventListener('state', ({ detail }) => this.heed(detail), { signal });
    bus.addEventListener('refused', ({ detail }) => this.refused(detail), { signal });
    const seen = new IntersectionObserver(([entry]) => (entry.isIntersecting ? this.appear() : this.leave()));
    root.hidden = false;
    this.take(chosen);
    seen.observe(root);
    const timer = setInterval(() => this.renew(), RENEW);
    this.stop = () => {
      listeners.abort();
      seen.disconnect();
      clearInterval(timer);
    };
  }

  // ---------- the server ----------

  get client() {
    return `${sitting().client}-grid`;
  }

  /** The grid holds images as a tab of its own would, so that what it shows is not asked on the canvas as well. */
  async post(path, body) {
    try {
      return await call(path, { project: sitting().key, client: this.client, ...body });
    } catch (problem) {
      if (problem instanceof Refused && problem.status === 401) await sitting().identify();
      throw problem;
    }
  }

  /** What was chosen; or the images of a confirmation that was undone. */
  async fetch(undone = null) {
    this.undone = undone;
    this.again = this.busy; // something else was chosen while an answer was on its way
    if (this.busy || this.waiting || !sitting()) return;
    const back = undone ?? this.resume();
    this.busy = true;
    this.asked = state().ranking;
    this.paint();
    const { chosen } = this;
    try {
      const answer = await (back ? this.bringBack(back) : this.ask());
      if (chosen === this.chosen && !this.again && !this.waiting) this.show(answer);
    } catch (problem) {
      this.problem = problem;
    }
    this.busy = false;
    this.paint();
    if (this.again) this.fetch(this.undone);
  }

  ask() {
    const { size: n, classId, order, seen, alike, chosen } = this;
    const which = { class_id: classId, order, seen, alike: alike?.sample_id ?? null };
    if (chosen) Object.assign(which, { among: chosen.among, decided: chosen.decided });
    return this.post('grid', { n, ...which });
  }

  /** As they were, with their marks. Those that are not to be had any more are left out. */
  async bringBack({ questions, marks, perClass, hidden, said = '' }) {
    const mine = questions.map((question) => question.sample_id);
    const held = sitting().outbox.pending ? mine : await (this.correcting ? this.stillLabeled(mine) : this.hold(mine));
    const back = questions.filter((question) => held.includes(question.sample_id));
    const gone = mine.length - back.length;
    if (gone) this.say(`${said} ${number(gone)} ${gone === 1 ? 'image is' : 'images are'} left out: on another screen, or decided, by now.`.trim());
    return back.length ? { questions: back, marks, per_class: perClass, hidden } : this.ask();
  }

  /** These instead of what the grid held; those of them that are open. */
  async hold(sampleIds) {
    await this.post('release', { sample_ids: sampleIds });
    return (await this.post('renew', { sample_ids: sampleIds })).held;
  }

  async stillLabeled(among) {
    const { classId, order } = this;
    const { questions } = await this.post('grid', { n: among.length, class_id: classId, order, among, decided: true });
    return questions.map((question) => question.sample_id);
  }

  show({ questions, marks, per_class: perClass, class_id: classId, hidden }) {
    Object.assign(this, { questions, perClass, hidden, problem: null });
    this.classId ??= classId;
    this.begun = performance.now();
    this.marks.show(questions, marks);
    this.remember();
  }

  // ---------- a reload ----------

  /** What is in sight is kept over a reload. */
  remember() {
    const { questions, perClass, hidden, classId, order, alike, alikeAs, seen } = this;
    const view = { classId, order, alike, alikeAs, seen };
    this.keep?.set('grid.screen', { of: this.chosen?.title ?? null, questions, perClass, hidden, view });
    this.changed();
  }

  /** Marks are others now. */
  changed() {
    this.keep?.set('grid.marks', [...this.marks.marks]);
    this.paint();
  }

  /** What can be undone is kept over a reload: the newest groups, as many as there is room for. */
  rememberGroups() {
    const groups = this.groups.slice(-GROUPS).map((group) => ({ ...group, marks: [...group.marks] }));
    while (JSON.stringify(groups).length > ROOM) groups.shift();
    this.keep?.set('grid.groups', groups);
  }

  /** Once, when the labeling screen has told whose tab it is: what was in sight before a reload, to be brought back. */
  resume() {
    if (this.keep) return null;
    this.keep = sitting().keep;
    this.groups = this.keep.get('grid.groups', []).map((group) => ({ ...group, marks: new Map(group.marks) }));
    const before = this.resumes ? this.keep.get('grid.screen') : null;
    if (!before || before.of !== (this.chosen?.title ?? null)) return null;
    const { classId } = before.view;
    if (classId !== null && !this.known().some((one) => one.id === classId)) return null; // archived meanwhile
    Object.assign(this, before.view);
    return before.questions.length ? { ...before, marks: new Map(this.keep.get('grid.marks')) } : null;
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
    if (this.questions.length && !this.correcting) await this.renew(); // labeled images are nobody's
    if (!this.questions.length) this.fetch();
  }

  leave() {
    if (!this.shown) return;
    this.shown = false;
    this.post('release', { sample_ids: [] }).catch(() => {});
  }

  async renew() {
    if (!this.shown || document.visibilityState !== 'visible' || !this.questions.length || this.correcting) return;
    const { questions } = this;
    const mine = questions.map((question) => question.sample_id);
    const { held } = await this.post('renew', { sample_ids: mine }).catch(() => ({ held: mine }));
    if (questions !== this.questions) return; // others are in sight by now
    this.questions = this.questions.filter((question) => held.includes(question.sample_id));
    this.marks.keep(held);
    this.paint();
  }

  // ---------- answers ----------

  /** The images that were not marked are what the grid asks about; a marked one stays open, or is what it was marked as. */
  confirm() {
    if (this.busy || !this.questions.length || this.target() === null) return;
    const { open } = this.marks.left(this.questions);
    if (this.correcting && open) return this.say(`${whatAre(open)} Press a class key, or choose above.`);
    const decided = this.questions.map((question) => [question, this.marks.as(question.sample_id, this.target())]);
    const asked = this.correcting ? this.target() : null; // what keeps its label is not labeled once more
    this.answer(decided.filter(([, classId]) => classId !== asked && classId !== null));
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
    const { questions, perClass, hidden, chosen, classId, order, alike, alikeAs } = this;
    const view = { chosen, classId, order, alike, alikeAs };
    this.groups.push({ operations, questions, marks: this.marks.marks, perClass, hidden, view });
    this.rememberGroups();
    sitting().outbox.push(...operations);
    this.say(`${number(operations.length)} ${this.correcting ? 'corrected' : 'labeled'}. Backspace takes them back.`);
    this.next();
  }

  /** Others in their place. What was marked as wrong is open again, for the canvas to ask, and comes last here. */
  next() {
    this.alike = null;
    if (this.chosen && (this.perClass[this.classId] ?? 0) <= this.questions.length) this.classId = null; // on to another class
    this.seen = [...this.seen, ...this.questions.map((question) => question.sample_id)].slice(-SEEN);
    this.clear();
    this.afterwards();
  }

  clear() {
    this.undone = null;
    this.questions = [];
    this.marks.show([]);
    this.remember();
  }

  /** Once the answers are on their way and stored, so that the server does not bring them once more. */
  async afterwards() {
    if (this.waiting) return;
    this.waiting = true;
    this.paint();
    const { outbox } = sitting();
    for (let waited = 0; outbox.pending && waited < 3000; waited += 50) await new Promise((resolve) => setTimeout(resolve, 50));
    this.waiting = false;
    this.fetch(this.undone);
  }

  /** The newest confirmation is taken back, and its images are in sight again as they were then. */
  undo() {
    const group = this.groups.pop();
    if (!group) return this.say('Nothing to undo in the grid');
    const undos = group.operations.map(({ uid: undoes, sample_id: sampleId, group_id: groupId }) => ({
      uid: uid(),
      kind: 'undo',
      sample_id: sampleId,
      undoes,
      group_id: groupId,
      client: this.client, // they come back to the grid
    }));
    sitting().outbox.push(...undos);
    this.rememberGroups();
    this.say(`Undone: ${number(undos.length)} labels`);
    Object.assign(this, group.view);
    given = this.chosen;
    keep(given);
    this.clear();
    this.undone = { ...group, said: 'Undone.', undos: new Set(undos.map((one) => one.uid)), refused: 0 };
    this.afterwards();
  }

  /** What was not stored: an answer, or some of the undos of a group that something else has taken back already. */
  refused({ uid: operation, reason }) {
    const { undone } = this;
    if (!undone?.undos.has(operation)) return this.say(`An answer could not be stored: ${reason}`);
    undone.refused += 1;
    undone.said = `${number(undone.refused)} of ${number(undone.undos.size)} labels were not undone: ${reason}`;
    this.say(undone.said);
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

  /** Whether labeled images are in sight, of which the marked ones get another class. */
  get correcting() {
    return Boolean(this.chosen?.decided);
  }

  /** A set of images instead of all open ones; null for all. */
  take(chosen) {
    Object.assign(this, { chosen, classId: null, alike: null, perClass: {}, hidden: 0, problem: null });
    this.order = chosen?.decided ? 'doubtful' : (localStorage.getItem('labeler.grid.order') ?? 'certain'); // mistakes first
    this.clear();
    if (this.shown || this.busy) this.fetch();
  }

  all() {
    given = null;
    keep(null);
    this.take(null);
    this.marks.box.focus({ preventScroll: true });
  }

  /** Another class: its images; or what the marked ones are, or images like a chosen one, or of which nothing is known. */
  choose(classId) {
    if (this.correcting && this.marks.left(this.questions).open) return this.marks.markOpen(classId, this.target());
    const unknown = this.chosen && !this.correcting && !state().version_labels;
    if (this.alike) this.alikeAs = classId;
    else this.classId = classId;
    if (this.alike || unknown) return this.remember();
    this.fetch();
  }

  step(by) {
    const ids = this.known().map((one) => one.id);
    const at = ids.indexOf(this.target());
    if (ids.length) this.choose(ids[(at + by + ids.length) % ids.length]);
  }

  more() {
    if (this.correcting) return;
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
    if (isElsewhere(event, this.root, this.marks.box)) return;
    const action = this.action(event.key, event.shiftKey, digitOf(event));
    if (!action) return;
    event.preventDefault();
    if (event.key.startsWith('Arrow') || (!event.repeat && !bounces(event))) action();
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
    return classId === null ? null : () => this.marks.mark(classId, this.target());
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
    this.paintChosen();
    const sure = (sampleId) => this.questions.find((one) => one.sample_id === sampleId)?.probs?.[this.target()];
    if (this.correcting) this.marks.paint(classes, () => undefined, target?.name);
    else this.marks.paint(classes, sure);
    this.root.querySelector('.grid-ask').replaceChildren(...this.words(target));
    const { length } = this.questions;
    const left = this.marks.left(this.questions);
    const confirm = this.root.querySelector('.grid-actions .primary');
    confirm.disabled = !length || !target || this.busy;
    const right = length - left.open - left.other;
    confirm.firstElementChild.textContent = !target || !length ? 'Nothing to label' : this.correcting ? corrections(left) : `${number(right)} are ${target.name}`;
    this.root.querySelector('[data-key="."]').disabled = this.correcting;
    this.root.style.setProperty('--c', target?.colour ?? 'var(--accent)');
    this.root.dataset.shown = String(length);
    this.root.dataset.busy = String(this.busy || Boolean(this.waiting));
  }

  /** The chip of a set, made anew only for another one: it may have the focus. */
  paintChosen() {
    const box = this.root.querySelector('.grid-set');
    if (box.chosen === this.chosen) return;
    box.chosen = this.chosen;
    box.replaceChildren(...(this.chosen ? [chosenChip(this.chosen, () => this.all())] : []));
  }

  chip(one) {
    const chip = element('button', 'grid-class');
    chip.type = 'button';
    chip.dataset.classId = one.id;
    chip.style.setProperty('--c', one.colour);
    const n = this.perClass[one.id] ?? 0;
    chip.setAttribute('aria-pressed', String(one.id === this.target()));
    chip.setAttribute('aria-label', `${one.name}, ${n} ${this.correcting ? 'images are labeled as it' : 'open images are taken for it'}`);
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
    if (this.chosen && !this.questions.length) return this.emptySet(target);
    if (!state()?.version_labels && !this.chosen) {
      return [element('b', '', 'The grid comes with the first model that knows a label. '), element('span', '', 'Label some images on the Label tab first.')];
    }
    if (!this.questions.length) return [element('b', '', target ? `No open image is taken for ${target.name}. ` : 'No image is open. ')];
    if (!target) return [element('b', '', 'Choose a class above: what are they?')];
    const name = element('b', '', target.name);
    const left = this.marks.left(this.questions);
    const more = left.open || left.other ? [element('span', 'grid-left', marked(left, this.correcting))] : [];
    if (this.hidden) more.push(element('span', 'grid-keys', ` ${hiddenOnes(this.hidden, this.correcting)}`));
    if (this.correcting) {
      const keys = element('span', 'grid-keys', 'Mark them, then press a class key or choose above. ');
      return [element('span', '', 'Labeled '), name, element('span', '', '. Is one of them something else? '), keys, ...more];
    }
    if (this.alike) {
      const keys = element('span', 'grid-keys', 'Or choose another class above; Esc goes back. ');
      return [element('span', '', 'Like the image you chose. All '), name, element('span', '', '? Mark the others. '), keys, ...more];
    }
    const keys = element('span', 'grid-keys', 'Click, drag, or arrow keys and Space; a class key says what they are. ');
    return [element('span', '', 'All '), name, element('span', '', '? Mark the others. '), keys, ...more];
  }

  /** Why nothing of a set is in sight. */
  emptySet(target) {
    const left = Object.values(this.perClass).some((n) => n > 0);
    const [taken, none] = this.correcting ? ['labeled as', 'None of them is labeled. '] : ['taken for', 'None of them is open any more. '];
    const words = [element('b', '', left && target ? `None of them is ${taken} ${target.name}. ` : none)];
    if (left) words.push(element('span', '', 'Choose another class above. '));
    if (this.hidden) words.push(element('span', '', hiddenOnes(this.hidden, this.correcting)));
    return words;
  }

  say(text) {
    this.root.querySelector('.lab-say').textContent = text;
    const ask = this.root.querySelector('.grid-ask');
    ask.dataset.said = text;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => delete ask.dataset.said, 4000);
  }
}

function marked({ open, other }, correcting) {
  const parts = [open ? `${number(open)} ${correcting ? 'marked' : 'left open'}` : '', other ? `${number(other)} of another class` : ''];
  return parts.filter(Boolean).join(', ');
}

const whatAre = (n) => (n === 1 ? 'What is the marked one?' : `What are the ${number(n)} marked?`);

function corrections({ open, other }) {
  if (open) return whatAre(open);
  return other ? `Correct ${number(other)}` : 'All right: go on';
}

function hiddenOnes(n, correcting) {
  const why = correcting ? 'measure accuracy, are asked of several people, or were decided by a reviewer' : 'measure accuracy, or are asked of several people';
  return `${number(n)} ${n === 1 ? 'is' : 'are'} never shown here: they ${why}.`;
}

/** What an answer carries of what the grid showed. */
function shown({ version, acquisition, guess, probs }) {
  const known = { version, acquisition, predicted_class_id: guess, predicted_prob: probs?.[guess] };
  return Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined && value !== null));
}
