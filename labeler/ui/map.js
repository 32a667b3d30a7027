// The Map tab: every image as a point, near those that the model finds alike. Look, choose, and send on.

import { bus, firstState, state } from './api.js';
import { element, number } from './dom.js';
import { colours, counted, legend, order } from './hues.js';
import { isElsewhere } from './keys.js';
import { Lasso } from './lasso.js';
import { Choice } from './mapchoice.js';
import { MapCard } from './mapcard.js';
import { MapData } from './mapdata.js';
import { Plane } from './plane.js';
import { followPointers } from './pointers.js';

const EVERY = 2000; // ms between two looks for what is new, while the tab is in sight
const GENTLY = 20; // times as long as a look took, at least
const STEP = 60; // pixels that an arrow moves the map
const NUDGE = 12; // and the circle that chooses
const CLOSER = 1.4;
const TOLD = 4000; // ms
const REACH = 14; // pixels from a point at which it is meant

let running = null;

/** Called by the page when the tab is first opened, and again if it renders the element anew. */
export async function start(host) {
  running?.stop();
  await firstState();
  running = new MapTab(host.querySelector('.map'));
}

class MapTab {
  constructor(root) {
    Object.assign(this, { root, data: new MapData(), hidden: {}, point: null, lassoing: false, shown: false, next: 0 });
    this.by = localStorage.getItem('labeler.map.by') ?? 'label';
    root.hidden = false;
    this.canvas = root.querySelector('.map-points');
    this.plane = new Plane(this.canvas, () => this.moved());
    this.lasso = new Lasso(this.plane, root.querySelector('.map-outline path'), (points) => this.choose(points));
    this.card = new MapCard(root.querySelector('.map-card'), root.querySelector('.map-ring'), this.plane);
    this.choice = new Choice(root.querySelector('.map-chosen'), (text) => this.say(text), () => this.lasso.clear());
    const listeners = new AbortController();
    const { signal } = listeners;
    this.buttons();
    followPointers(this.canvas, this, signal);
    document.addEventListener('keydown', (event) => this.press(event), { signal });
    bus.addEventListener('state', () => this.heed(), { signal });
    const sizes = new ResizeObserver(() => this.plane.resize());
    sizes.observe(this.canvas);
    const theme = new MutationObserver(() => this.data.n && this.recount());
    theme.observe(document.body, { attributes: true, attributeFilter: ['class'] });
    const seen = new IntersectionObserver(([entry]) => this.appear(entry.isIntersecting));
    seen.observe(root);
    this.stop = () => {
      listeners.abort();
      [sizes, theme, seen].forEach((observer) => observer.disconnect());
    };
  }

  // ---------- what there is to show ----------

  appear(shown) {
    const before = this.shown;
    this.shown = shown;
    if (!shown || before) return;
    this.canvas.focus({ preventScroll: true });
    this.fetch();
  }

  heed() {
    if (this.shown && performance.now() > this.next) this.fetch();
  }

  async fetch() {
    if (this.busy) return;
    this.busy = true;
    const begun = performance.now();
    const classes = JSON.stringify(state().classes);
    try {
      const { places } = this.data;
      const fresh = (await this.data.load()) || classes !== this.classes;
      this.problem = null;
      if (fresh && this.data.n) {
        this.classes = classes;
        if (this.data.places !== places) this.take();
        this.recount();
      }
    } catch (problem) {
      this.problem = problem;
    }
    this.busy = false;
    this.next = begun + Math.max(EVERY, GENTLY * (performance.now() - begun));
    this.sayIfEmpty();
  }

  /** Other places: what was chosen stays chosen, the line around it would lie. */
  take() {
    const { ids, xy, here, places } = this.data;
    const [point, chosen] = [this.point && this.was[this.point.i], this.choice.ids];
    this.was = ids;
    this.plane.resize();
    this.plane.place(xy, here, places.method !== this.method);
    this.method = places.method;
    if (chosen.length && this.lasso.any) {
      const among = new Set(chosen);
      this.lasso.forget();
      this.points = Array.from(here).filter((i) => among.has(ids[i]));
    }
    if (point) this.look(ids.indexOf(point), this.point.byKeys);
    const from = `version ${number(places.version)}`;
    this.root.querySelector('.map-note').textContent =
      places.method === 't-SNE'
        ? `${number(here.length)} images, laid out by t-SNE from ${from}. Only what lies near is alike.`
        : `${number(here.length)} images by their first two principal components, from ${from}.${places.method === 'PCA' ? '' : ' A better map (t-SNE) comes while nobody labels.'}`;
    this.canvas.setAttribute('aria-label', `Map of ${number(here.length)} images`);
  }

  /** What is known of the images, or how they are coloured, has changed. */
  recount() {
    this.counted = counted(this.by, this.data, state().classes);
    this.card.data = this.data;
    this.repaint();
    if (this.points) this.choice.show(this.points, this.data, this.counted.entries, this.counted.codes);
    if (this.point) this.card.show(this.point.i);
  }

  repaint() {
    const hidden = this.hiddenNow();
    const { by, data } = this;
    const rgba = colours(by, data, this.counted, this.points);
    this.plane.paint(rgba, order(data.here, this.counted, hidden));
    for (const button of this.root.querySelectorAll('[data-by]')) button.setAttribute('aria-pressed', String(button.dataset.by === by));
    const box = this.root.querySelector('.map-legend');
    const focused = box.contains(document.activeElement) ? document.activeElement.dataset.code : null;
    box.replaceChildren(...legend(by, this.counted.entries, hidden, (code) => this.toggle(code)));
    if (focused) box.querySelector(`[data-code="${focused}"]`)?.focus({ preventScroll: true });
    this.root.dataset.shown = String(this.plane.order.length);
  }

  sayIfEmpty() {
    const box = this.root.querySelector('.map-empty');
    const none = !this.data.n;
    box.hidden = !none;
    this.root.dataset.empty = String(none);
    if (!none) return;
    const { version, trainer } = state();
    const [title, words] = this.problem
      ? ['The server did not answer.', this.problem.message]
      : trainer.alive || trainer.wanted
        ? ['The map is not made yet.', version === null ? 'It comes once the model has looked at all images, without any label. You can label meanwhile.' : 'It comes with the next version.']
        : ['There is no map yet.', 'No trainer runs for this project: start the server without --no-trainer, or run labeler train.'];
    box.querySelector('b').textContent = title;
    box.querySelector('span').textContent = words;
  }

  // ---------- colours ----------

  colour(by) {
    this.by = by;
    localStorage.setItem('labeler.map.by', by);
    if (this.data.n) this.recount();
  }

  hiddenNow() {
    return (this.hidden[this.by] ??= new Set());
  }

  toggle(code) {
    const hidden = this.hiddenNow();
    if (code === 'all') hidden.clear();
    else if (code === 'none') this.counted.entries.forEach((one) => hidden.add(one.code));
    else if (!hidden.delete(code)) hidden.add(code);
    this.repaint();
    if (this.point && !this.plane.order.includes(this.point.i)) this.look(null);
  }

  // ---------- one image ----------

  /** The image that is looked at: by the pointer, or by keys, which then go from image to image. */
  look(i, byKeys = false) {
    this.point = i === null || i < 0 ? null : { i, byKeys };
    if (this.point && byKeys) this.keepInSight(i);
    this.card.show(this.point?.i ?? null);
    this.hint();
  }

  lookAt(px, py) {
    if (!this.data.n) return;
    const i = this.plane.nearest(px, py, Math.max(REACH, this.plane.radius()));
    if (i !== (this.point?.i ?? null)) this.look(i);
  }

  keepInSight(i) {
    const [x, y] = this.plane.pixelsOf(i);
    const { width, height } = this.plane;
    const edge = 40;
    const out = (at, size) => (at < edge ? edge - at : at > size - edge ? size - edge - at : 0);
    if (out(x, width) || out(y, height)) this.plane.pan(out(x, width), out(y, height));
  }

  moved() {
    if (this.lasso.circle) this.lasso.round();
    this.lasso.paint();
    this.card.place();
  }

  // ---------- choosing ----------

  aim(on) {
    this.lassoing = on;
    if (!on && this.lasso.circle) this.lasso.clear();
    this.root.querySelector('[data-do=lasso]').setAttribute('aria-pressed', String(on));
    this.root.classList.toggle('lassoing', on);
    this.hint();
  }

  choose(points) {
    if (points && !points.length) return this.tell('Nothing in there');
    this.points = points;
    if (points) this.aim(false);
    if (!this.data.n) return;
    this.choice.show(points, this.data, this.counted.entries, this.counted.codes);
    this.repaint();
  }

  // ---------- keys and buttons ----------

  buttons() {
    for (const button of this.root.querySelectorAll('[data-by]')) button.addEventListener('click', () => this.colour(button.dataset.by));
    const actions = { lasso: () => this.aim(!this.lassoing), out: () => this.plane.zoom(1 / CLOSER), in: () => this.plane.zoom(CLOSER), fit: () => this.plane.fit() };
    for (const button of this.root.querySelectorAll('[data-do]')) button.addEventListener('click', () => actions[button.dataset.do]());
    this.hint();
  }

  hint() {
    const words = this.told ?? this.keys();
    const box = this.root.querySelector('.map-hint');
    if (box.textContent !== words) box.textContent = words;
    box.classList.toggle('told', Boolean(this.told)); // in sight on a small screen, too
  }

  keys() {
    return this.lasso.circle
      ? 'Arrows move the circle, + and - size it, Enter chooses, Esc leaves it'
      : this.lassoing
        ? 'Draw around images, or press L once more for a circle to move by keys'
        : this.point?.byKeys
          ? 'Arrows go from image to image, Esc leaves it'
          : 'Drag and wheel, or arrows, + - 0; Enter looks at the image in the middle; Shift and drag, or L, chooses';
  }

  press(event) {
    if (isElsewhere(event, this.root)) return;
    const action = this.data.n && this.action(event.key);
    if (!action) return;
    event.preventDefault();
    action();
  }

  action(key) {
    const { plane, lasso } = this;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    const { circle } = lasso;
    if (way && circle) return () => lasso.move(NUDGE * way[0], NUDGE * way[1]);
    if (way && this.point?.byKeys) return () => this.go(...way);
    if (way) return () => plane.pan(-STEP * way[0], -STEP * way[1]);
    return {
      '+': () => (circle ? lasso.size(CLOSER) : plane.zoom(CLOSER)),
      '=': () => (circle ? lasso.size(CLOSER) : plane.zoom(CLOSER)),
      '-': () => (circle ? lasso.size(1 / CLOSER) : plane.zoom(1 / CLOSER)),
      0: () => plane.fit(),
      l: () => this.round(),
      L: () => this.round(),
      Enter: () => (circle ? lasso.take() : this.look(plane.nearest(plane.width / 2, plane.height / 2), true)),
      Escape: () => this.escape(),
    }[key];
  }

  /** L aims the lasso; L again puts a circle there, around the image that is looked at. */
  round() {
    if (!this.lassoing) return this.aim(true);
    const at = this.point ? this.plane.pixelsOf(this.point.i) : [this.plane.width / 2, this.plane.height / 2];
    this.lasso.put(...at);
    this.canvas.focus({ preventScroll: true });
    this.hint();
  }

  go(dx, dy) {
    const next = this.plane.beside(this.point.i, dx, dy);
    if (next !== null) this.look(next, true);
  }

  escape() {
    if (this.lassoing) this.aim(false);
    else if (this.point) this.look(null);
    else if (this.points) this.lasso.clear();
  }

  /** Said where the keys are told, for a moment. */
  tell(text) {
    this.say(text);
    this.told = text;
    this.hint();
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      this.told = null;
      this.hint();
    }, TOLD);
  }

  say(text) {
    this.root.querySelector('.lab-say').textContent = text;
  }
}
