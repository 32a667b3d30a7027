// The Classes tab: the list of classes, changed in place, and what was archived or merged below it.

import { bus, call, firstState, poll, state } from './api.js';
import { element, number } from './dom.js';
import { One } from './one.js';
import { Rows } from './rows.js';
import { labels } from './words.js';

const SAID = 8000; // ms that a word about what was done stays

let running = null;

/** Called by the page when the tab is first opened, and again if it renders the element anew. */
export async function start(host) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const manage = new Manage(host.querySelector('.manage'));
  bus.addEventListener('state', ({ detail }) => manage.heed(detail), { signal });
  window.addEventListener('beforeunload', (event) => manage.one.unsaved && event.preventDefault(), { signal });
  await firstState();
  await manage.fetch();
}

class Manage {
  constructor(root) {
    Object.assign(this, { root, classes: [], known: '', changes: 0 });
    this.$ = (selector) => root.querySelector(selector);
    this.rows = new Rows(this.$('.manage-rows'), (change, said) => this.change(change, said), (id) => this.choose(id));
    this.one = new One(this.$('.manage-one'), this);
    this.$('.manage-add').addEventListener('submit', (event) => this.add(event));
    this.$('.deal-keys').addEventListener('click', () => this.dealKeys());
    root.hidden = false;
  }

  get mayChange() {
    const role = state()?.role;
    return role === null || role === 'reviewer' || role === 'admin';
  }

  get active() {
    return this.classes.filter((one) => one.status === 'active');
  }

  // ---------- the server ----------

  /** What others changed is fetched; how many labels there are is in the state itself. */
  heed(known) {
    const now = JSON.stringify([known.classes, known.merged, known.guidelines, known.role]);
    if (this.root.offsetParent && now !== this.known) {
      this.known = now;
      this.fetch();
    }
    const { per_class: perClass } = known.counts;
    for (const one of this.active) one.labels = perClass[one.id] ?? one.labels;
    this.rows.counts(perClass);
    this.one.counted();
  }

  async fetch() {
    const { changes } = this;
    try {
      const answer = await call('classes');
      if (changes === this.changes) this.show(answer); // else it may be from before the change
    } catch (problem) {
      this.say(problem.message);
    }
  }

  /** Makes a change, shows the classes as they are then, and says what was done, or calls `failed` with the problem.
   *  Returns the answer, null where there is none. */
  async change(change, said = () => '', failed = () => {}) {
    this.changes += 1;
    try {
      const answer = await call('classes', { project: state().key, ...change });
      this.changes += 1;
      this.show(answer);
      this.say(said(answer));
      poll();
      return answer;
    } catch (problem) {
      this.say(problem.message);
      this.show({ classes: this.classes });
      failed(problem);
      if (problem.status === 409) this.fetch();
      return null;
    }
  }

  // ---------- what is seen ----------

  show({ classes }) {
    this.classes = classes;
    this.root.classList.toggle('only-read', !this.mayChange);
    this.rows.show(this.active, this.mayChange);
    this.$('.manage-none').hidden = this.active.length > 0;
    this.$('.manage-head').hidden = !this.active.length;
    this.$('.manage-hint').hidden = !this.mayChange || !this.active.length;
    this.$('.manage-reader').hidden = this.mayChange;
    this.$('.deal-keys').hidden = !this.mayChange || this.active.length < 2;
    this.$('.manage-add').hidden = !this.mayChange;
    this.gone(classes.filter((one) => one.status !== 'active'));
    if (!this.active.some((one) => one.id === this.chosen)) this.chosen = this.active[0]?.id ?? null;
    this.choose(this.chosen);
  }

  choose(id) {
    this.chosen = id;
    this.rows.choose(id);
    this.one.show(this.active.find((one) => one.id === id) ?? null);
  }

  /** Archived and merged classes, each with the way back. */
  gone(classes) {
    const box = this.$('.manage-gone');
    const now = JSON.stringify([classes.map(({ id, name, colour, labels: n, merged_into: into }) => [id, name, colour, n, into]), this.mayChange]);
    if (now === this.listed) return; // a button that has the focus keeps it
    this.listed = now;
    box.hidden = !classes.length;
    box.querySelector('summary').textContent = `Archived and merged (${number(classes.length)})`;
    box.querySelector('ul').replaceChildren(...classes.map((one) => this.goneRow(one)));
  }

  goneRow(one) {
    const row = element('li');
    const merged = one.status === 'merged';
    const about = merged ? `merged into ${one.merged_into}` : 'archived';
    const name = element('b', '', one.name);
    name.style.setProperty('--c', one.colour);
    const back = element('button', '', 'Bring back');
    back.type = 'button';
    back.setAttribute('aria-label', `Bring back ${one.name}`);
    back.hidden = !this.mayChange;
    back.addEventListener('click', async () => {
      const kind = merged ? 'unmerge' : 'restore';
      const done = await this.change({ kind, class_ids: [one.id] }, () => `${one.name} is in use again, with the labels that were given as it.`);
      if (done) this.choose(one.id);
      if (done) this.rows.focus(one.id);
    });
    row.append(name, element('span', '', `${about} · ${labels(one.labels)}`), back);
    return row;
  }

  async add(event) {
    event.preventDefault();
    const { name } = event.target.elements;
    const done = await this.change({ kind: 'add', name: name.value }, () => `${name.value.trim()} is added.`);
    if (!done) return name.select();
    name.value = '';
    this.choose(done.added[0]);
    name.focus();
    return this.rows.reveal(done.added[0]);
  }

  dealKeys() {
    const ids = this.active.map((one) => one.id);
    return this.change({ kind: 'reorder', class_ids: ids, keys: true }, () => 'The keys follow the order of the list.');
  }

  /** What was done, or why not; `back` takes it back. */
  say(text, back = null) {
    if (!text) return;
    const [words, button] = this.$('.manage-say').children;
    words.textContent = text;
    button.hidden = !back;
    button.onclick = () => {
      button.hidden = true;
      back();
    };
    clearTimeout(this.saying);
    this.$('.manage-say').classList.add('on');
    if (!back) this.saying = setTimeout(() => this.$('.manage-say').classList.remove('on'), SAID);
  }
}
