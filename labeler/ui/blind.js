// The blind test: real images and drawn ones one after the other, R or G, and the truth once all are answered.

import { call, state } from './api.js';
import { drawChart } from './chart.js';
import { drawn } from './drawn.js';
import { element, number, percent } from './dom.js';
import { Keep } from './holder.js';
import { bounces, pressesButton } from './keys.js';
import { labelsOf } from './sheet.js';

const MOST_SIDE = 320; // pixels of the image in question
const SHOWN = 6; // versions in the list of scores

export class Blind {
  constructor(root) {
    Object.assign(this, { root, dialog: root.querySelector('.blind-dialog'), scores: [], busy: false });
    this.$ = (selector) => root.querySelector(selector);
    this.$('.blind-start').addEventListener('click', () => this.begin(this.unfinished));
    this.$('.blind-anew').addEventListener('click', () => this.begin());
    this.dialog.addEventListener('keydown', (event) => this.press(event));
    this.dialog.querySelector('.close').addEventListener('click', () => this.dialog.close());
    this.dialog.addEventListener('close', () => this.leave());
    for (const button of this.dialog.querySelectorAll('[data-said]')) {
      button.addEventListener('click', () => this.say(button.dataset.said));
    }
    this.sizes = new ResizeObserver(() => this.chart());
    this.sizes.observe(this.$('.blind-scores'));
  }

  stop() {
    this.sizes.disconnect();
  }

  /** How long a test may be, and the scores so far. */
  offer({ least, usual, most, scores }) {
    const select = this.$('.blind-begin select');
    if (!select.length) {
      const sizes = Array.from({ length: (most - least) / 10 + 1 }, (_, i) => least + 10 * i);
      select.append(...sizes.map((n) => new Option(`${n} images`, String(n), false, n === usual)));
    }
    this.scores = scores;
    this.history();
    this.recall();
  }

  /** The version that the next test is of. */
  of(version) {
    this.version = version;
    const about = 'Half are real, half drawn by version';
    this.$('.blind-about').textContent = `${about} ${number(version.version)} (${labelsOf(version)}). Which are which?`;
    this.paint();
    if (!version.weights) this.note('The weights of this version are gone: no test of it can be drawn.');
    else if (this.$('.blind-note').textContent.startsWith('The weights')) this.note('');
  }

  // ---------- an unfinished test ----------

  /** Where this tab keeps it, {test, version, n, said}: over a reload, and for nobody but who began it. */
  get keep() {
    return new Keep(state().key);
  }

  get unfinished() {
    return this.keep.get('blind');
  }

  /** Once in the page's life: a test that the server does not know any more is let go. */
  async recall() {
    if (this.recalled) return;
    this.recalled = true;
    const { unfinished } = this;
    if (unfinished) await call(`blind/${unfinished.test}`).catch((problem) => this.lost(unfinished.test, problem));
    this.paint();
  }

  forget(test) {
    if (this.unfinished?.test === test) this.keep.drop('blind');
    this.paint();
  }

  /** The server was started anew, or somebody else is here. */
  lost(test, problem) {
    if (problem.status !== 404) return;
    this.forget(test);
    this.note(problem.message);
  }

  leave() {
    this.images = [];
    this.paint();
  }

  paint() {
    const { unfinished, version } = this;
    const start = this.$('.blind-start');
    start.textContent = unfinished ? `Go on (${unfinished.said.length + 1} of ${unfinished.n})` : 'Begin';
    start.title = unfinished ? `A test of version ${number(unfinished.version)}` : '';
    start.disabled = !unfinished && !version?.weights;
    Object.assign(this.$('.blind-anew'), { hidden: !unfinished, disabled: !version?.weights });
  }

  // ---------- a test ----------

  /** Goes on with an unfinished test, or begins another one. */
  async begin(unfinished = null) {
    if (this.busy || !this.version) return;
    this.busy = true;
    this.note(unfinished ? 'Getting the images…' : 'Drawing the images…');
    try {
      const { test, version, said } = unfinished ?? (await this.another());
      const { images } = await (await drawn(`blind/${test}`)).json();
      Object.assign(this, { test, tested: version, images, said });
      this.note('');
      this.root.querySelector('.blind-test').hidden = false;
      this.root.querySelector('.blind-result').hidden = true;
      this.dialog.querySelector('.close').textContent = 'Stop';
      this.dialog.showModal();
      await this.show();
    } catch (problem) {
      this.note(problem.message);
      if (unfinished) this.lost(unfinished.test, problem);
    }
    this.busy = false;
  }

  async another() {
    const { version } = this.version;
    const n = Number(this.$('.blind-begin select').value);
    const { test } = await call('blind', { project: state().key, version, n });
    return { test, version, said: [] };
  }

  async show() {
    const { test, tested: version, said } = this;
    const at = said.length;
    this.keep.set('blind', { test, version, n: this.images.length, said });
    this.title(`Real or generated? ${at + 1} of ${this.images.length}`);
    this.tell('');
    const image = element('img');
    Object.assign(image, { src: this.images[at], alt: 'The image in question' });
    await image.decode();
    scale(image, MOST_SIDE);
    this.dialog.querySelector('.blind-image').replaceChildren(image);
    this.dialog.querySelector('[data-said=back]').disabled = at === 0;
    this.shownAt = performance.now();
    const { activeElement: focused } = document;
    if (!this.dialog.contains(focused) || focused.disabled) this.dialog.querySelector('.blind-test').focus(); // R and G are heard there
  }

  async say(what) {
    if (this.answering || !this.images?.length || this.said.length >= this.images.length) return;
    if (what === 'back') this.said.pop();
    else this.said.push({ real: what === 'real', ms: Math.round(performance.now() - this.shownAt) });
    if (this.said.length < this.images.length) return this.show();
    this.answering = true;
    await this.finish();
    this.answering = false;
  }

  /** Sent until it is stored: the answers are in this tab alone until then. */
  async finish() {
    const { images, test, said } = this;
    try {
      const result = await call(`blind/${test}`, { project: state().key, answers: said });
      this.forget(test);
      this.scores = result.scores;
      this.history();
      if (this.dialog.open) this.result(result, images);
    } catch (problem) {
      if (problem.status === 404) {
        this.dialog.close();
        return this.lost(test, problem);
      }
      said.pop();
      if (!this.dialog.open || said !== this.said) return;
      await this.show();
      this.tell(`${problem.message} Answer the last image once more.`);
    }
  }

  result(result, images) {
    const { n, right, score, interval, drawn: made, fooled, truth } = result;
    this.title(`${number(right)} of ${number(n)} told right`);
    this.dialog.querySelector('.close').textContent = 'Close';
    const box = this.dialog.querySelector('.blind-result');
    const words = `${percent(score)}, 95% interval ${interval.map(percent).join(' to ')}, n=${number(n)}. 50% is guessing. `;
    const about = element('p', '', `${words}${number(fooled)} of ${number(made)} drawings passed for real.`);
    const groups = [
      ['Drawn, and you said real', truth.map((one, i) => !one.real && one.said_real && i)],
      ['Real, and you said generated', truth.map((one, i) => one.real && !one.said_real && i)],
      ['Drawn, and you saw it', truth.map((one, i) => !one.real && !one.said_real && i)],
      ['Real, and you saw it', truth.map((one, i) => one.real && one.said_real && i)],
    ].map(([title, places]) => group(title, places.filter((i) => i !== false), images, truth));
    box.replaceChildren(about, ...groups.filter(Boolean));
    box.hidden = false;
    this.dialog.querySelector('.blind-test').hidden = true;
    this.dialog.querySelector('.close').focus();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const what = { r: 'real', g: 'drawn', Backspace: 'back' }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    event.stopPropagation(); // no other screen hears the keys of a test
    if (pressesButton(event) || !what || !this.images?.length) return;
    event.preventDefault();
    if (!event.repeat && !bounces(event) && !(what === 'back' && !this.said.length)) this.say(what);
  }

  // ---------- scores ----------

  history() {
    const box = this.$('.blind-scores');
    if (!this.scores.length) return box.replaceChildren(element('p', 'blind-none', 'No test yet. Each one is kept, with the version it was of.'));
    const list = element('ol', 'blind-list');
    const line = (one) => {
      const item = element('li');
      const tests = `${number(one.tests)} ${one.tests === 1 ? 'test' : 'tests'} by ${number(one.people)} ${one.people === 1 ? 'person' : 'people'}`;
      item.append(element('b', '', percent(one.score)), element('span', '', `told right of ${number(one.n)} (95% interval ${one.interval.map(percent).join(' to ')})`));
      item.append(element('span', 'blind-of', `version ${number(one.version)}, ${labelsOf(one)}; ${tests}`));
      return item;
    };
    list.append(...this.scores.slice(-SHOWN).reverse().map(line));
    box.replaceChildren(element('div', 'chart'), list);
    this.chart();
  }

  chart() {
    const host = this.$('.blind-scores .chart');
    if (!host?.clientWidth) return;
    const points = this.scores.map((one) => ({ x: one.labels, y: one.score, n: one.n, version: one.version }));
    points.sort((a, b) => a.x - b.x);
    const format = (share) => `${Math.round(100 * share)}%`;
    drawChart(host, [{ name: 'measured', points }], { format, along: 'labels', floor: 0, ceiling: 1 });
  }

  title(text) {
    this.dialog.querySelector('h2').textContent = text;
  }

  note(text) {
    this.$('.blind-note').textContent = text;
  }

  tell(text) {
    this.dialog.querySelector('.blind-say').textContent = text;
  }
}

/** Small images by whole factors. */
function scale(image, most) {
  const side = Math.max(image.naturalWidth, image.naturalHeight);
  const factor = most >= side ? Math.floor(most / side) : most / side;
  Object.assign(image.style, { width: `${image.naturalWidth * factor}px`, height: `${image.naturalHeight * factor}px` });
  image.classList.toggle('pixelated', factor >= 1);
}

function group(title, places, images, truth) {
  if (!places.length) return null;
  const made = element('section', 'blind-group');
  const strip = element('div');
  for (const i of places) {
    const image = element('img');
    const name = truth[i].real ? 'a real image' : (state().classes.find((c) => c.id === truth[i].class_id)?.name ?? 'a class');
    Object.assign(image, { src: images[i], alt: truth[i].real ? name : `drawn as ${name}`, title: truth[i].real ? '' : `Drawn as ${name}` });
    image.decode().then(() => scale(image, 64), () => {});
    strip.append(image);
  }
  made.append(element('h3', '', `${title}: ${number(places.length)}`), strip);
  return made;
}
