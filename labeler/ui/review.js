// The Review tab: an image that people disagree about, who said what, and a key that decides it.

import { bus, call, firstState, poll, state, uid } from './api.js';
import { showAgreement } from './agreement.js';
import { element, number } from './dom.js';
import { bounces, digitOf, isElsewhere, Keys, shown } from './keys.js';
import { WORDS } from './words.js';

const ACTIONS = [
  ['accept', 'Enter', 'Accept the majority'],
  ['skip', 'Space', 'Leave open'],
  ['unsure', null, 'Unsure'], // their keys are a person's own
  ['flag', null, 'Flag'],
  ['undo', '⌫', 'Undo'],
];
const FIXED = { enter: 'accept', ' ': 'skip', backspace: 'undo' };
const AGREEMENT_EVERY = 30_000; // ms

let running = null;

/** Called by the page when the tab is first opened, and again if it renders the element anew. */
export async function start(host) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const review = new Review(host.querySelector('.review'));
  bus.addEventListener('state', ({ detail }) => review.heed(detail), { signal });
  document.addEventListener('keydown', (event) => review.press(event), { signal });
  document.addEventListener('click', (event) => event.detail && review.focus(), { signal }); // detail 0: by keyboard
  review.focus();
  review.heed(await firstState());
}

class Review {
  constructor(root) {
    Object.assign(this, { root, client: uid(), images: [], left: new Set(), decided: new Set(), last: null, stored: 0, names: false });
    Object.assign(this, { busy: false, fetching: false, fetched: false, count: 0, shownAt: 0, agreedAt: -AGREEMENT_EVERY, unheard: null });
    this.$ = (selector) => root.querySelector(selector);
    this.$('.review-names').addEventListener('click', () => this.toggleNames());
    this.$('.review-at').addEventListener('change', () => this.agree());
    this.$('.review-at').addEventListener('keydown', (event) => event.key === 'Escape' && this.root.focus({ preventScroll: true }));
    for (const [name, key, text] of ACTIONS) {
      const button = element('button', 'review-action');
      Object.assign(button, { type: 'button' });
      button.dataset.name = name;
      button.append(element('span', '', text), element('kbd', '', key ?? ''));
      button.addEventListener('click', () => this.does(name)?.());
      this.$('.review-actions').append(button);
    }
  }

  get image() {
    return this.images[0] ?? null;
  }

  /** New state: the count is always right; images are fetched when somebody looks and there may be some. */
  heed(known) {
    if (!this.root.offsetParent) return;
    if (known.to_review === null) return this.say('Reviewers work here', 'Ask an admin of this project for the role reviewer.');
    this.classes(known);
    if (!this.fetching && (!this.fetched || (!this.image && known.to_review !== this.count))) this.fetch();
    if (performance.now() - this.agreedAt > AGREEMENT_EVERY) this.agree();
  }

  /** Keys are heard meanwhile: what they decided is not asked again, and the image in sight stays, or `first` comes. */
  async fetch(first = null) {
    this.fetching = true;
    const { stored } = this;
    const query = new URLSearchParams({ names: this.names, left: [...this.left].join(',') });
    if (first ?? this.image) query.set('first', first ?? this.image.sample_id);
    try {
      const { count, images, last, annotator } = await call(`review?${query}`);
      const open = images.filter(({ sample_id: id }) => !this.decided.has(id) && !this.left.has(id));
      const inSight = open.findIndex(({ sample_id: id }) => id === (first ?? this.image?.sample_id));
      if (inSight > 0) open.unshift(...open.splice(inSight, 1));
      Object.assign(this, { images: open, count, annotator, fetched: true });
      if (stored === this.stored) this.last = last; // what was decided meanwhile is newer
      this.paint();
    } catch (problem) {
      this.tell(problem.message);
    }
    this.fetching = false;
  }

  async agree() {
    this.agreedAt = performance.now();
    const at = this.$('.review-at').value.trim();
    await call(`agreement?${new URLSearchParams({ at })}`).then(
      (report) => showAgreement(this.root, report, this.names),
      (problem) => (this.$('.review-agreement header p').textContent = problem.message),
    );
  }

  // ---------- decisions ----------

  /** The next image comes when the decision is stored: nobody loses one, and none is decided twice. */
  async decide(kind, classId = null) {
    const { image } = this;
    if (!image || this.busy) return;
    this.busy = true;
    const ms = Math.round(performance.now() - this.shownAt);
    const decision = await this.send({ kind, sample_id: image.sample_id, class_id: classId, ms });
    this.busy = false;
    if (!decision) return;
    this.tell(kind === 'label' ? this.name(classId) : WORDS[kind]);
    this.stored += 1;
    this.last = decision;
    this.decided.add(image.sample_id);
    this.next();
  }

  accept() {
    const { majority } = this.image ?? {};
    if (majority) return this.decide(majority.kind, majority.class_id);
    this.tell('No majority: press the key of a class');
  }

  leave() {
    if (!this.image || this.busy) return;
    this.left.add(this.image.sample_id);
    this.tell('Left open');
    this.next();
  }

  async undo() {
    const { last } = this;
    if (!last) return this.tell('Nothing to undo');
    if (this.busy) return;
    this.busy = true;
    const stored = await this.send({ kind: 'undo', sample_id: last.sample_id, undoes: last.uid });
    if (stored) {
      this.tell('Undone');
      this.stored += 1;
      this.last = null; // until the server says which was before it
      this.decided.delete(last.sample_id);
      await this.fetch(last.sample_id);
      poll();
    }
    this.busy = false;
  }

  /** What was stored, or null. What is pressed again because nobody acknowledged it goes under the same uid: it is stored once. */
  async send(what) {
    const { unheard } = this;
    const again = unheard && ['kind', 'sample_id', 'class_id', 'undoes'].every((part) => what[part] === unheard[part]);
    const decision = again ? unheard : { uid: uid(), ...what };
    this.unheard = decision;
    try {
      await call('review', { project: state().key, client: this.client, annotator: this.annotator, ...decision });
      this.unheard = null;
      return decision;
    } catch (problem) {
      this.tell(problem.message);
      return null;
    }
  }

  next() {
    this.images = this.images.slice(1);
    this.count = Math.max(0, this.count - 1);
    this.paint();
    if (this.images.length < 3 && !this.fetching) this.fetch();
    poll();
  }

  // ---------- what is on screen ----------

  paint() {
    const { image } = this;
    this.root.classList.toggle('empty', !image);
    if (!image) return this.say(...nothing(this.left.size));
    if (this.$('.review-image img')?.dataset.sampleId !== String(image.sample_id)) {
      const picture = element('img');
      Object.assign(picture, { src: image.image, alt: '' });
      picture.dataset.sampleId = image.sample_id;
      picture.classList.toggle('pixelated', Math.max(image.width, image.height) <= 128);
      this.$('.review-image').replaceChildren(picture);
      this.shownAt = performance.now();
    }
    this.$('.review-name').textContent = `${image.name} · ${number(this.count)} to review`;
    this.$('.review-said').replaceChildren(...image.answers.map((answer) => this.said(answer)));
    const { majority } = image;
    for (const button of this.root.querySelectorAll('.review-class')) {
      button.classList.toggle('majority', majority?.kind === 'label' && Number(button.dataset.classId) === majority.class_id);
    }
  }

  said({ who, kind, class_id: classId }) {
    const line = element('li');
    const what = element('b', '', kind === 'label' ? this.name(classId) : WORDS[kind]);
    what.title = what.textContent;
    what.style.setProperty('--c', state().classes.find((c) => c.id === classId)?.colour ?? 'var(--quiet)');
    line.append(element('span', '', who), what);
    return line;
  }

  name(classId) {
    return state().classes.find((c) => c.id === classId)?.name ?? 'an archived class';
  }

  /** Classes and keys, listed anew only where they are others now: a button may have the focus. */
  classes({ classes, keys: own }) {
    const listed = JSON.stringify([classes.map((c) => [c.id, c.name, c.key, c.colour]), own]);
    if (listed === this.listed) return;
    this.listed = listed;
    this.keys = new Keys(classes, own);
    for (const [name, key] of ACTIONS) if (!key) this.$(`[data-name=${name}] kbd`).textContent = shown(this.keys.of.get(name));
    const buttons = classes.map((c) => {
      const button = element('button', 'review-class');
      Object.assign(button, { type: 'button', title: c.name });
      button.dataset.classId = c.id;
      button.style.setProperty('--c', c.colour);
      button.append(element('kbd', '', shown(this.keys.ofClass(c.id))), element('span', '', c.name));
      button.addEventListener('click', () => this.decide('label', c.id));
      return button;
    });
    this.$('.review-classes').replaceChildren(...buttons);
    if (this.image) this.paint();
  }

  toggleNames() {
    this.names = !this.names;
    this.$('.review-names').setAttribute('aria-pressed', String(this.names));
    this.agreedAt = -AGREEMENT_EVERY;
    this.fetch(this.image?.sample_id ?? null);
    this.agree();
  }

  say(title, text) {
    this.root.classList.add('empty');
    this.$('.review-empty b').textContent = title;
    this.$('.review-empty span').textContent = text;
  }

  tell(text) {
    this.$('.review-say').textContent = text;
  }

  // ---------- keys ----------

  /** A button keeps the focus after a mouse click, the tab's too, and Space or Enter would press it again. */
  focus() {
    requestAnimationFrame(() => {
      if (this.root.offsetParent && !document.querySelector('dialog[open]')) this.root.focus({ preventScroll: true });
    });
  }

  press(event) {
    if (isElsewhere(event, this.root)) return;
    const action = this.action(event.key.toLowerCase()) ?? this.action(digitOf(event));
    if (!action) return;
    event.preventDefault();
    if (!event.repeat && !bounces(event)) action();
  }

  /** What a key does here. N is the names' where it is no key of a class, nor of what is done here. */
  action(key) {
    const classId = this.keys?.classAt(key) ?? null;
    if (classId !== null) return () => this.decide('label', classId);
    return this.does(FIXED[key] ?? this.keys?.at.get(key)) ?? (key === 'n' ? () => this.toggleNames() : null);
  }

  does(name) {
    const actions = {
      accept: () => this.accept(),
      skip: () => this.leave(),
      unsure: () => this.decide('unsure'),
      flag: () => this.decide('flag'),
      undo: () => this.undo(),
    };
    return actions[name];
  }
}

function nothing(left) {
  if (left) return ['The rest you left open', `${number(left)} ${left === 1 ? 'image waits' : 'images wait'}: a reload brings ${left === 1 ? 'it' : 'them'} back.`];
  return ['Nothing to review', 'What people answer differently, are unsure of or flag appears here by itself.'];
}
