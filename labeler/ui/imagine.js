// The Imagine tab: what each kept version draws of every class, at a temperature; downloads. way.js and blind.js are
// the other two panels.

import { bus, call, firstState, state } from './api.js';
import { Blind } from './blind.js';
import { newestOnly, picture, save } from './drawn.js';
import { element, number } from './dom.js';
import { isElsewhere } from './keys.js';
import { labelsOf, Sheet } from './sheet.js';
import { Way } from './way.js';

const KEPT = 60; // pictures
const FRAME = 900; // ms of a version while it plays
const PER_CLASS = [16, 64, 200];
const EARLY = ['The first drawings come with the first model', 'It starts by itself and looks at all images without labels first. You can label meanwhile.'];
const NOBODY = ['The first drawings come with the first model', 'No trainer runs for this project: start the server without --no-trainer, or run labeler train.'];
const SAME_STYLE = 'A column has one random style in every version: a change is something learned.';
const GONE = 'The weights of this version are gone, these drawings are left: temperature, ways and data sets are off.';

let running = null;

/** Called by the page when the tab is first opened, and again if it renders the element anew. */
export async function start(host) {
  running?.stop();
  running = new Imagine(host.querySelector('.imagine'));
  running.heed(await firstState());
}

class Imagine {
  constructor(root) {
    Object.assign(this, { root, versions: [], place: -1, rngSeed: 0, temperature: 1, pictures: new Map(), fetching: false });
    this.$ = (selector) => root.querySelector(selector);
    this.sheet = new Sheet(this.$('.imagine-sheet'), (classId, column) => this.way.choose(`drawn:${classId}:${column}`));
    this.way = new Way(this.$('.imagine-way'), (ends) => this.sheet.mark(ends));
    this.blind = new Blind(root);
    this.show = newestOnly(() => this.draw());
    const listeners = new AbortController();
    const { signal } = listeners;
    bus.addEventListener('state', ({ detail }) => this.heed(detail), { signal });
    document.addEventListener('keydown', (event) => this.press(event), { signal });
    document.addEventListener('click', ({ detail, target }) => detail && target.closest?.('[role=tab]') && this.focus(), { signal });
    this.controls();
    this.focus();
    this.stop = () => {
      listeners.abort();
      this.sheet.stop();
      this.blind.stop();
      this.halt();
    };
  }

  get version() {
    return this.versions[this.place];
  }

  /** New state: versions are fetched when there is another one and somebody looks. */
  async heed(known) {
    if (!this.root.offsetParent) return this.halt();
    if (!this.fetching && known.version !== this.known) await this.fetch(known);
    if (this.versions.length && this.list()) this.show();
    this.$('.imagine-body').hidden = !this.versions.length;
    const wait = this.$('.imagine-wait');
    wait.hidden = this.versions.length > 0;
    const { alive, wanted } = known.trainer;
    const [title, text] = alive || wanted ? EARLY : NOBODY;
    wait.firstElementChild.textContent = title;
    wait.lastElementChild.textContent = text;
  }

  async fetch(known) {
    this.fetching = true;
    try {
      const { versions, temperature, blind, most } = await call('imagine');
      const newest = this.place < 0 || this.place === this.versions.length - 1;
      const before = this.version?.version;
      this.versions = versions;
      const same = versions.findIndex((one) => one.version === before);
      this.place = newest || same < 0 ? versions.length - 1 : same;
      Object.assign(this.$('.imagine-warmth input'), { min: temperature.least, max: temperature.most, value: this.temperature });
      Object.assign(this, { known: known.version, usual: temperature.usual, most });
      this.blind.offer(blind);
      if (!versions.length) return;
      this.marks();
      this.list();
      this.$('.imagine-body').hidden = false;
      await this.show();
      this.ahead();
    } catch {
      // the header says that the server is away; the next state tries again
    } finally {
      this.fetching = false;
    }
  }

  /** The classes of now that any kept version draws; true where they have to be painted. */
  list() {
    const drawn = new Set(this.versions.flatMap((version) => version.class_ids));
    const classes = state().classes.filter((c) => drawn.has(c.id));
    const another = this.sheet.list(classes, this.versions.at(-1).n);
    this.way.list(classes);
    return another;
  }

  // ---------- versions ----------

  marks() {
    const marks = this.versions.map((version, i) => {
      const mark = element('li', i === this.versions.length - 1 ? 'last' : '');
      const same = version.labels === this.versions[i - 1]?.labels; // said once
      mark.append(element('span', '', same ? '' : number(version.labels)));
      return mark;
    });
    this.$('.imagine-slider ol').replaceChildren(...marks);
    this.$('.imagine-slider').classList.toggle('many', marks.length > 12);
    const slider = this.$('.imagine-slider input');
    Object.assign(slider, { max: this.versions.length - 1, value: this.place });
    slider.disabled = this.$('.imagine-play').disabled = this.versions.length < 2;
  }

  go(place) {
    if (place < 0 || place >= this.versions.length || place === this.place) return;
    this.place = place;
    this.$('.imagine-slider input').value = place;
    this.show();
  }

  play() {
    if (this.playing) return this.halt();
    if (this.versions.length < 2) return;
    this.go(0);
    this.playing = setInterval(() => {
      this.go(this.place + 1);
      if (this.place === this.versions.length - 1) this.halt();
    }, FRAME);
    this.playButton();
  }

  halt() {
    clearInterval(this.playing);
    this.playing = null;
    this.playButton();
  }

  playButton() {
    const button = this.$('.imagine-play');
    button.setAttribute('aria-pressed', String(Boolean(this.playing)));
    button.firstElementChild.textContent = this.playing ? 'Stop' : 'Play';
  }

  // ---------- drawings ----------

  /** Where the picture is: of the usual style and temperature it is published with the version. */
  path(version) {
    const usual = this.temperature === this.usual && this.rngSeed === 0;
    if (usual || !version.weights) return `generated/${version.version}`;
    return `imagine/sheet/${version.version}?temperature=${this.temperature}&rng_seed=${this.rngSeed}`;
  }

  async get(version, options) {
    const path = this.path(version);
    if (!this.pictures.has(path)) this.pictures.set(path, await picture(path, options));
    while (this.pictures.size > KEPT) this.pictures.delete(this.pictures.keys().next().value);
    return this.pictures.get(path);
  }

  async draw() {
    const { version } = this;
    this.words(version);
    try {
      const bitmap = await this.get(version, { waiting: () => this.note('The process that draws is starting…') });
      if (version !== this.version) return;
      this.sheet.paint(version, bitmap);
      this.note(version.weights ? SAME_STYLE : GONE);
    } catch (problem) {
      this.note(problem.message);
    }
    const { temperature, rngSeed } = this;
    this.way.show({ version, temperature, rngSeed });
    this.blind.of(version);
  }

  /** The others, one by one, so that the slider and play never wait. */
  async ahead() {
    for (const version of this.versions) await this.get(version).catch(() => {});
  }

  words(version) {
    const when = new Date(1000 * version.time).toLocaleString('en', { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    const text = `Version ${number(version.version)}, ${labelsOf(version)}, ${when}`;
    this.$('.imagine-which').textContent = text;
    this.$('.imagine-slider input').setAttribute('aria-valuetext', `version ${version.version}, ${labelsOf(version)}`);
    const usual = this.temperature === this.usual && this.rngSeed === 0;
    for (const name of ['.imagine-warmth input', '.imagine-others', '.imagine-zip']) this.$(name).disabled = !version.weights;
    this.$('.imagine-usual').disabled = usual;
    this.$('.imagine-warmth output').textContent = this.temperature.toFixed(1);
    this.sizes(version);
  }

  /** How many of each class a data set may hold. */
  sizes(version) {
    const select = this.$('.imagine-set select');
    const most = Math.floor(this.most / Math.max(1, version.class_ids.length));
    const fitting = [...PER_CLASS.filter((n) => n < most), most].slice(0, PER_CLASS.length);
    const listed = fitting.join();
    if (listed !== this.fitting) select.replaceChildren(...fitting.map((n) => new Option(`${number(n)} of each class`, String(n))));
    this.fitting = listed;
    select.disabled = !version.weights;
  }

  note(text) {
    this.$('.imagine-note').textContent = text;
  }

  // ---------- controls ----------

  controls() {
    const on = (selector, type, listener) => this.$(selector).addEventListener(type, listener);
    on('.imagine-play', 'click', () => this.play());
    on('.imagine-slider input', 'input', ({ target }) => {
      this.halt();
      this.go(Number(target.value));
    });
    on('.imagine-warmth input', 'input', ({ target }) => this.restyle(Number(target.value), this.rngSeed));
    on('.imagine-others', 'click', () => this.restyle(this.temperature, this.rngSeed + 1));
    on('.imagine-usual', 'click', () => {
      this.$('.imagine-warmth input').value = this.usual;
      this.restyle(this.usual, 0);
      this.$('.imagine-sheet [tabindex="0"]')?.focus(); // the button is off now, and would lose the focus
    });
    on('.imagine-png', 'click', ({ currentTarget }) => this.save(currentTarget, 'png', '.png'));
    on('.imagine-zip', 'click', ({ currentTarget }) => this.save(currentTarget, 'zip', '-synthetic.zip', this.$('.imagine-set select').value));
  }

  restyle(temperature, rngSeed) {
    Object.assign(this, { temperature, rngSeed });
    this.show();
  }

  async save(button, kind, suffix, n = '') {
    const { version } = this;
    const usual = version.weights ? [this.temperature, this.rngSeed] : [this.usual, 0];
    const query = new URLSearchParams({ temperature: usual[0], rng_seed: usual[1], ...(n && { n }) });
    button.setAttribute('aria-disabled', 'true');
    this.note('Drawing…');
    try {
      await save(`imagine/${kind}/${version.version}?${query}`, `${state().project}-v${version.version}${suffix}`);
      this.note('Saved. The file says that a model drew what is in it, and no import takes it for real images.');
    } catch (problem) {
      this.note(problem.message);
    }
    button.removeAttribute('aria-disabled');
  }

  /** A tab that was clicked keeps the focus, and the arrows would be its own. */
  focus() {
    requestAnimationFrame(() => {
      if (this.root.offsetParent && !document.querySelector('dialog[open]')) this.root.focus({ preventScroll: true });
    });
  }

  press(event) {
    if (isElsewhere(event, this.root) || !this.versions.length) return;
    const inTabs = event.target.closest?.('[role=tab]');
    const actions = { p: () => this.play(), ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(+1) };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || (inTabs && event.key !== 'p')) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith('Arrow')) action();
  }

  step(by) {
    this.halt();
    this.go(this.place + by);
  }
}
