// The Learning tab: key numbers, learning curves, what the model draws, labels of each class.

import { bus, call, firstState, state } from './api.js';
import { drawChart, interval } from './chart.js';
import { tile } from './classes.js';
import { accuracyText, element, number, percent } from './dom.js';
import { showChanges, showPace } from './pace.js';
import { Scores } from './scores.js';

const CHARTS = {
  accuracy: { series: ['gold', 'measured'], format: (share) => `${Math.round(100 * share)}%`, floor: 0, ceiling: 1 },
  elbo: { series: ['elbo'], format: nats },
  log_px: { series: ['log_px'], format: nats },
  kl_z: { series: ['kl_z'], format: nats },
};
const MORE = 'The Imagine tab goes back to the first one.';
const LOSSES = {
  log_px: ['Reconstruction', (value) => -value],
  kl_z: ['KL of z'],
  kl_y: ['KL of y'],
  supervised: ['Classification'],
  contrast: ['Contrast'],
  consistency: ['Consistency'],
  propagation: ['Propagation'],
  perceptual: ['Perceptual'],
  cycle: ['Cycle'],
  adversary: ['Adversary'],
  critic: ['Critic'],
};
const OFTEN = 5000; // ms between two looks at figures that a ranking changes
const TILE = 56; // pixels, at most

let running = null;

/** Called by the page when the tab is first opened, and again if it renders the element anew. */
export async function start(host) {
  running?.abort();
  running = new AbortController();
  const tab = new Learning(host.querySelector('.learn'));
  bus.addEventListener('state', ({ detail }) => tab.heed(detail), { signal: running.signal });
  const sizes = new ResizeObserver(() => tab.charts());
  sizes.observe(tab.root);
  running.signal.addEventListener('abort', () => sizes.disconnect());
  tab.heed(await firstState());
}

class Learning {
  constructor(root) {
    Object.assign(this, { root, versions: [], shown: undefined, fetched: 0, along: null, fetching: false });
    this.scores = new Scores(root.querySelector('.scores'), state);
    root.querySelectorAll('[data-along]').forEach((button) => button.addEventListener('click', () => this.turn(button.dataset.along)));
  }

  /** New state: the cheap parts at once, the curves only when there is a new version or ranking and somebody looks. */
  async heed(known) {
    if (!this.root.offsetParent) return;
    this.bars(known);
    this.cards(known);
    const now = `${known.version} ${known.ranking} ${known.counts.labeled}`;
    const soon = known.version === this.version && performance.now() - this.fetched < OFTEN;
    if (this.fetching || now === this.shown || soon) return;
    this.fetching = true;
    try {
      const { versions, scores, pace, changes } = await call('learning');
      Object.assign(this, { versions, shown: now, version: known.version, fetched: performance.now() });
      this.cards(known);
      this.charts();
      this.scores.show(scores);
      showPace(this.root.querySelector('.pace'), pace);
      showChanges(this.root.querySelector('.changes'), changes);
      this.gallery(state());
    } catch {
      // the header says that the server is away; the next state tries again
    }
    this.fetching = false;
  }

  cards(known) {
    const metrics = this.versions.at(-1)?.metrics ?? {};
    const total = known.counts.pool + known.counts.measure;
    const { labeled, skipped, unsure, flagged } = known.counts;
    const others = `${number(skipped)} skipped, ${number(unsure)} unsure, ${number(flagged)} flagged`;
    const steps = number(this.versions.at(-1)?.steps ?? 0);
    const learned = `learned from ${number(known.version_labels ?? 0)} labels in ${steps} steps`;
    const validated = `nats an image, on ${number(metrics.validation_n ?? 0)} images it never trains on`;
    const cards = [
      ['Labeled', number(labeled), `of ${number(total)}; ${others}`],
      known.version === null ? ['Model', '–', 'not published yet'] : ['Model', `v${known.version}`, learned],
      ...accuracyCards(known.accuracy),
      metrics.elbo === undefined ? ['ELBO', '–', 'comes with the first version'] : ['ELBO', nats(metrics.elbo), validated],
    ];
    this.root.querySelector('.learn-cards').replaceChildren(...cards.map(card));
    const wait = this.root.querySelector('.learn-wait');
    wait.hidden = known.version !== null;
    this.root.querySelector('.learn-grid').classList.toggle('early', known.version === null);
    const comes = known.trainer.alive || known.trainer.wanted;
    wait.querySelector('b').textContent = comes ? 'The first model is on its way' : 'There is no model yet';
    wait.querySelector('span').textContent = waiting(known.trainer);
  }

  // ---------- curves ----------

  turn(along) {
    this.along = along;
    this.charts();
  }

  /** Against labels, unless there were none so far: then steps tell more. */
  axis() {
    return this.along ?? (new Set(this.versions.map((version) => version.labels)).size > 2 ? 'labels' : 'steps');
  }

  charts() {
    if (!this.versions.length || !this.root.offsetParent) return;
    const along = this.axis();
    this.root.querySelectorAll('[data-along]').forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.along === along)));
    for (const [name, chart] of Object.entries(CHARTS)) {
      const panel = this.root.querySelector(`[data-chart=${name}]`);
      const series = chart.series.map((kind) => this.series(name, kind, along)).filter((one) => one.points.length);
      drawChart(panel.querySelector('.chart'), series, { ...chart, along });
      if (name === 'accuracy') panel.querySelector('header p').textContent = accuracyNote(state()?.accuracy ?? []);
    }
    this.losses();
  }

  /** Small multiples: a curve for each term of the loss that there is. */
  losses() {
    const panel = this.root.querySelector('.losses');
    const series = Object.keys(LOSSES).map((term) => [term, this.loss(term)]);
    const there = series.filter(([, points]) => points.length);
    panel.hidden = !there.length;
    const hosts = there.map(([term]) => multiple(LOSSES[term][0]));
    panel.querySelector('.multiples').replaceChildren(...hosts);
    there.forEach(([, points], i) => drawChart(hosts[i].querySelector('.chart'), [{ name: 'training', points }], { format: small, along: 'steps' }));
  }

  loss(term) {
    const value = LOSSES[term][1] ?? ((one) => one);
    const told = this.versions.filter(({ metrics }) => metrics.losses?.[term] !== undefined);
    return told.map(({ steps, version, metrics }) => ({ x: steps, y: value(metrics.losses[term]), version }));
  }

  /** One value for each place on the axis: the newest version there. */
  series(name, kind, along) {
    const points = new Map();
    for (const version of this.versions) {
      const value = name === 'accuracy' ? version.metrics[`${kind}_accuracy`] : version.metrics[kind];
      const n = name === 'accuracy' ? version.metrics[`${kind}_n`] : undefined;
      if (value !== undefined && value !== null) points.set(version[along], { x: version[along], y: value, n, version: version.version });
    }
    return { name: kind, points: [...points.values()].sort((a, b) => a.x - b.x) };
  }

  // ---------- what the model draws ----------

  gallery(known) {
    const { generated, classes } = known;
    const panel = this.root.querySelector('.gallery');
    panel.hidden = !generated;
    if (!generated) return;
    const { version, labels, class_ids: ids } = generated;
    panel.querySelector('header p').textContent = `Version ${version}, ${number(labels)} labels. ${MORE}`;
    const rows = classes.filter((c) => ids.includes(c.id)).map((c) => drawnRow(c, generated, ids.indexOf(c.id)));
    panel.querySelector('.drawings').replaceChildren(...rows);
  }

  bars(known) {
    const most = Math.max(1, ...known.classes.map((c) => known.counts.per_class[c.id] || 0));
    this.root.querySelector('.bars').replaceChildren(...known.classes.map((c) => bar(c, known.counts.per_class[c.id] || 0, most)));
  }
}

function nats(value) {
  return value.toFixed(Math.abs(value) < 100 ? 1 : 0);
}

const small = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2));

function multiple(name) {
  const made = element('div', 'multiple');
  made.append(element('h3', '', name), element('div', 'chart'));
  return made;
}

function card([title, value, note]) {
  const made = element('div', 'card');
  made.append(element('span', 'card-title', title), element('b', '', value), element('span', 'card-note', note));
  return made;
}

function accuracyCards(accuracy) {
  if (!accuracy.length) return [['Accuracy', '–', 'needs gold images, or labels of images drawn at random to measure']];
  const titles = { gold: 'Accuracy on gold images', measured: 'Accuracy, measured' };
  const note = (value, n) => `n=${number(n)}, 95% interval ${interval(value, n).map(percent).join(' to ')}`;
  return accuracy.map(({ kind, value, n }) => [titles[kind], percent(value), note(value, n)]);
}

function accuracyNote(accuracy) {
  return accuracy.length ? `Now ${accuracy.map(accuracyText).join(', ')}. The band is the 95% interval.` : 'Not measured yet';
}

function waiting({ phase, alive, wanted, step, steps_total: total }) {
  if (alive && phase === 'warm_up' && total > 0) return `It is looking at all images without labels first (${Math.round((100 * step) / total)}%). You can label meanwhile.`;
  if (alive || wanted) return 'It starts by looking at all images without labels. You can label meanwhile.';
  return 'No trainer runs for this project: start the server without --no-trainer, or run labeler train.';
}

function drawnRow(c, sheet, row) {
  const line = element('div', 'drawn-row');
  line.setAttribute('role', 'img');
  line.setAttribute('aria-label', `${sheet.n} images the model draws for ${c.name}`);
  const name = element('span', 'drawn-name', c.name);
  name.style.setProperty('--c', c.colour);
  line.append(name);
  for (let column = 0; column < sheet.n; column++) {
    const one = element('i');
    tile(one, sheet, row, column, TILE);
    line.append(one);
  }
  return line;
}

function bar(c, n, most) {
  const line = element('div', 'bar-row');
  const track = element('i');
  const fill = element('i');
  Object.assign(fill.style, { width: `${(100 * n) / most}%`, background: c.colour });
  track.append(fill);
  line.append(element('span', 'bar-name', c.name), track, element('span', 'bar-count', number(n)));
  return line;
}
