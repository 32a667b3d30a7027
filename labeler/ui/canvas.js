// The labeling canvas: the keys, and what they do to the image on screen. The hand never waits for the server.

import { Answers } from './answers.js';
import { bus, call, firstState, state, tell } from './api.js';
import { Classes } from './classes.js';
import { Controls } from './controls.js';
import { askName } from './dialogs.js';
import { afterFrame } from './dom.js';
import { emptyWords } from './empty.js';
import { Facts } from './facts.js';
import { Film } from './film.js';
import { Find } from './find.js';
import { Sitting } from './goal.js';
import { Guide } from './guide.js';
import { help } from './help.js';
import { claim, Keep } from './holder.js';
import { Keys, shown } from './keys.js';
import { Outbox } from './outbox.js';
import { operation, plain, withoutHints } from './question.js';
import { Queue } from './queue.js';
import { Remap } from './remap.js';
import { Server } from './server.js';
import { Sketches } from './sketches.js';
import { REFRESH, Spare } from './spare.js';
import { Stage } from './stage.js';
import { inSight } from './tabs.js';
import { Wishes } from './wishes.js';
import { WORDS } from './words.js';

const RENEW = 40_000; // ms; a lease lasts 120 s
const SKETCHED = 3; // questions ahead of the hand whose drawings are asked for
const TICK = 5000; // ms between two looks at the clock of a sitting

let running = null;

/** Called by the page for the canvas element; a page that renders it anew gets the running canvas stopped first. */
export async function start(host) {
  running?.stop?.();
  const root = host.querySelector('.lab');
  const known = await firstState();
  const name = known.annotator ?? (await askName(root));
  const keep = new Keep(known.key);
  if (keep.get('name', name) !== name) keep.clear(); // what another person left unsaved waits in the spare copy for them
  keep.set('name', name);
  const client = await claim(keep);
  running = new Canvas(root, known, name, keep, client);
  await running.begin();
}

/** The canvas that runs, if any: other tabs of the page send their answers through its outbox. */
export const sitting = () => running;

class Canvas {
  constructor(root, known, name, keep, client) {
    Object.assign(this, { root, keep, client, name, key: known.key, ranking: known.ranking, rankedBy: known.ranked_by });
    this.current = null; // the question of the queue that is on screen, or under the one that is corrected
    this.correcting = null; // an entry of the filmstrip that is on screen instead
    this.hints = localStorage.getItem('labeler.hints') === '1';
    this.peek = null; // sample id whose guess was revealed by Enter
    this.named = 0; // when a class was last found by its name
    this.counts = known.counts;
    this.elsewhere = 0; // open images on other screens, as the newest empty refill told
    this.waiting = 0; // and images that this person answered and others are still to answer
    this.keys = new Keys(known.classes, known.keys);
    this.sitting = new Sitting(root, keep);
    this.server = new Server(this);
    this.stage = new Stage(root);
    this.classes = new Classes(root, this.withKeys(known.classes), (classId) => this.answer('label', classId));
    this.classes.merged = known.merged;
    this.sketches = new Sketches(() => this.toSketch(), (question) => question === this.question && this.paint());
    this.find = new Find(root, {
      classes: () => this.classes.classes,
      opened: () => this.question,
      choose: (classId, question) => this.answerByName(classId, question),
    });
    this.controls = new Controls(this);
    this.remap = new Remap(root, () => ({ classes: this.classes.classes, keys: this.keys }), (own) => this.server.rekey(own));
    this.film = new Film(root, this.classes, (entry) => this.correct(entry));
    this.facts = new Facts(root, this.classes);
    this.wishes = new Wishes(root, {
      classes: this.classes,
      facts: this.facts,
      post: (path, body) => this.server.post(path, body),
      key: known.key,
      changed: () => this.queue.restart(),
      say: (text) => this.say(text),
    });
    this.guide = new Guide(root, this.classes);
    this.answers = new Answers(this.film, known.counts.per_class);
    this.spare = new Spare(known.key, client, name);
    this.outbox = new Outbox(keep, this.spare, (operations) => this.server.commit(operations), () => this.reportOutbox());
    this.queue = new Queue({
      fetch: (request) => this.server.refill(request),
      release: (sampleIds) => this.server.post('release', { sample_ids: sampleIds }),
      held: () => [...(this.current ? [this.current.sample_id] : []), ...this.outbox.sampleIds()],
      wanted: (sampleId) => sampleId !== this.current?.sample_id && !this.answers.has(sampleId),
      arrived: () => (this.current ? this.prepare() : this.advance()),
    });
  }

  // ---------- begin and end ----------

  async begin() {
    const { server } = this;
    const listeners = new AbortController();
    this.stop = () => listeners.abort();
    const { signal } = listeners;
    this.controls.listen(signal);
    this.root.hidden = false;
    this.root.dataset.client = this.client;
    this.root.focus({ preventScroll: true });
    window.addEventListener('beforeunload', (event) => this.outbox.pending && event.preventDefault(), { signal });
    window.addEventListener('pagehide', () => server.sendLast(), { signal });
    window.addEventListener('pageshow', (event) => event.persisted && server.renew(), { signal });
    const turned = () => {
      this.outbox.flush(); // a phone may stop a page that is out of sight
      server.renew();
    };
    document.addEventListener('visibilitychange', turned, { signal });
    bus.addEventListener('state', ({ detail }) => this.heed(detail), { signal });
    bus.addEventListener('online', ({ detail }) => this.connected(detail), { signal });
    const timers = [
      setInterval(() => server.renew(), RENEW),
      setInterval(() => server.adopt(), REFRESH),
      setInterval(() => this.sitting.show(), TICK),
    ];
    signal.addEventListener('abort', () => timers.forEach(clearInterval));
    this.outbox.save();
    this.outbox.flush();
    server.adopt();
    await this.answers.remember(this.outbox, this.keep);
    await this.resume();
    this.heed(state());
    this.askChanges();
    this.queue.fill();
    this.sitting.show();
  }

  /** The image that was on screen before a reload comes first, if it is still ours. */
  async resume() {
    const before = this.keep.get('screen');
    if (!before || this.answers.has(before.sample_id)) return;
    const { held } = await this.server.post('renew', { sample_ids: [before.sample_id] }).catch(() => ({ held: [] }));
    if (held.includes(before.sample_id) && !this.current) this.show(before);
  }

  /** The server does not know who this is: asked here, for other tabs of the page too. */
  identify() {
    return this.server.identify();
  }

  // ---------- answers ----------

  get question() {
    return this.correcting?.question ?? this.current;
  }

  /** One answer to the image on screen. Nothing is answered that is not visible. */
  answer(kind, classId = null) {
    const { question } = this;
    if (!question) return this.stage.flash('There is no image to answer yet');
    if (question.broken && kind === 'label') return this.stage.flash('Nobody can see this image: skip or flag it');
    if (!this.stage.visible && !question.broken) return this.stage.flash('One moment, the image is coming');
    const given = operation(kind, question, { class_id: classId, ms: this.stage.elapsed() });
    this.answers.note(given.uid, kind, classId, question);
    this.keep.set(`question.${question.sample_id}`, plain(question));
    this.outbox.push(given);
    this.sitting.count();
    if (kind === 'label') this.stage.flash(this.classes.name(classId), this.classes.colour(classId));
    else this.stage.flash(WORDS[kind]);
    this.classes.mark(classId, true);
    if (this.correcting) this.goBack();
    else this.advance();
  }

  /** Enter: the guess is accepted where it is in sight; otherwise it is shown first. */
  accept() {
    const { question } = this;
    if (!question) return this.stage.flash('There is no image to answer yet');
    if (question.guess == null) return this.stage.flash('The model has no guess yet');
    if (withoutHints(question)) return this.stage.flash(withoutHints(question));
    if (this.hinting(question)) return this.answer('label', question.guess);
    this.peek = question.sample_id;
    this.paint();
    this.stage.flash(`${this.classes.name(question.guess)}? Enter accepts`, this.classes.colour(question.guess));
  }

  /** A class that was found by its name answers the image that was on screen when the search began, and no other. */
  answerByName(classId, question) {
    this.named = performance.now();
    if (question !== this.question) return this.stage.flash('The image has changed meanwhile: nothing was answered');
    return this.answer('label', classId);
  }

  /** Takes the newest answer back and puts that very image on screen. */
  undo() {
    const answer = this.answers.newest;
    if (!answer) return this.stage.flash('Nothing to undo');
    const { question } = answer;
    this.answers.forget(answer.uid);
    this.sitting.count(-1);
    this.outbox.push(operation('undo', question, { undoes: answer.uid }));
    this.stage.flash(`Undone: ${answer.kind === 'label' ? this.classes.name(answer.class_id) : WORDS[answer.kind]}`);
    if (answer.before) return this.correct(this.film.find(question.sample_id));
    this.correcting = null;
    if (this.current) this.queue.putBack(this.current);
    this.show(question);
  }

  /** An answer that was refused. With `again`, as for a class that was archived meanwhile, its image is asked again. */
  takeBack(uid, again) {
    const answer = this.answers.forget(uid);
    if (!again || answer?.kind !== 'label' || answer.before) return;
    this.queue.putBack(answer.question);
    if (!this.current) this.advance();
  }

  // ---------- what is on screen ----------

  advance() {
    const question = this.queue.take() ?? null;
    this.show(question);
    if (!question) return this.queue.fill();
    return afterFrame(() => {
      this.queue.fill();
      this.prepare();
      this.server.news();
    });
  }

  prepare() {
    this.stage.prepare(this.queue.questions[0] ?? null);
  }

  show(question) {
    this.current = question;
    this.keep.set('screen', question && plain(question));
    this.stage.show(question);
    this.sayIfEmpty();
    this.paint();
  }

  /** Puts an answered image on screen again, to be looked at or answered anew. */
  correct(entry) {
    if (!entry) return;
    this.correcting = entry;
    this.stage.show(entry.question);
    this.paint();
  }

  /** Back from a correction to where the person was. */
  goBack() {
    if (!this.correcting) return;
    this.correcting = null;
    this.stage.show(this.current);
    this.sayIfEmpty();
    this.paint();
  }

  walk(step) {
    const entry = this.film.neighbour(this.correcting, step);
    if (entry) this.correct(entry);
    else if (this.correcting) this.goBack();
  }

  /** Samples that somebody else has by now, or has answered. */
  lose(sampleIds) {
    this.queue.drop(sampleIds);
    if (!sampleIds.has(this.current?.sample_id) || this.answers.has(this.current.sample_id)) return;
    if (!this.correcting) this.stage.flash('That image was answered by somebody else');
    this.current = null;
    if (!this.correcting) this.advance();
  }

  hinting(question) {
    return Boolean(question?.probs) && !withoutHints(question) && (this.hints || this.peek === question.sample_id);
  }

  paint() {
    const { question, correcting } = this;
    const hinting = this.hinting(question);
    this.classes.hints(hinting ? question.probs : null, question?.guess);
    this.classes.sketch(hinting ? question : null);
    this.facts.drawn(state()?.generated, hinting && question.drawing);
    if (hinting) this.sketches.fetch();
    this.classes.mark(correcting?.kind === 'label' ? correcting.class_id : null);
    this.classes.counts(this.answers.perClass);
    this.film.select(correcting);
    this.facts.show(question, hinting, correcting && this.film.word(correcting));
    this.guide.follow(question, hinting, correcting);
    this.root.querySelector('.hints').setAttribute('aria-pressed', String(this.hints));
  }

  /** Questions whose drawings are worth having: the one in sight, and with hints on those that come next. */
  toSketch() {
    const { question } = this;
    if (!this.hinting(question)) return [];
    const next = this.hints ? this.queue.questions.slice(0, SKETCHED) : [];
    return [question, ...next.filter((one) => this.hinting(one))];
  }

  /** A stage without an image says why. */
  sayIfEmpty() {
    if (this.question || this.replaced) return;
    const { away, counts, elsewhere, waiting } = this;
    const narrowed = this.narrowed && this.wishes.narrows;
    const { folder, role } = state();
    const told = { away, counts, elsewhere, waiting, narrowed, folder, pending: this.outbox.pending, asked: this.queue.empty };
    this.stage.say(...emptyWords({ ...told, exports: role === null || role === 'admin' }));
    this.root.querySelector('.stage-message .lift').hidden = !narrowed || this.away || !this.queue.empty || this.counts.open === 0;
  }

  // ---------- the state of the project ----------

  /** The server's counts hold once nothing of ours is on its way. */
  trust(counts) {
    this.counts = counts;
    this.answers.perClass = { ...counts.per_class };
    this.classes.counts(this.answers.perClass);
    tell('counts', counts);
  }

  reportOutbox() {
    const { pending, problem } = this.outbox;
    this.root.dataset.pending = pending;
    tell('outbox', { pending, problem });
    this.sayIfEmpty();
  }

  /** The state of the project as the poll brings it. */
  heed(known) {
    this.replaced = known.key !== this.key;
    if (this.replaced) return this.stage.say('Another project is served here now', 'Reload the page to see it.');
    this.classes.merged = known.merged;
    this.follow(known);
    this.guide.heed(known);
    this.root.querySelector('.use-example').hidden = known.role === 'annotator';
    if (!this.outbox.pending) this.trust(known.counts);
    this.facts.accuracy(known.accuracy);
    this.wishes.heed(known);
    if (known.generated?.url !== this.drawn) {
      this.drawn = known.generated?.url;
      this.classes.draw(known.generated);
      this.paint();
    }
    if (known.ranking !== this.ranking) {
      const another = known.ranked_by !== this.rankedBy; // the trainer has followed to another acquisition
      Object.assign(this, { ranking: known.ranking, rankedBy: known.ranked_by });
      if (another) this.queue.restart();
      else this.queue.rerank();
      this.askChanges();
    }
    this.sayIfEmpty();
  }

  /** What the newest answers changed, beside each on the filmstrip. */
  async askChanges() {
    const { changed } = await call('changed').catch(() => ({ changed: this.film.flips }));
    this.film.changed(changed);
  }

  /** Classes or keys that are others now, whoever changed them. */
  follow({ classes, keys }) {
    this.keys = new Keys(classes, this.server.stale ? this.keys.own : keys);
    const listed = this.withKeys(classes);
    if (JSON.stringify(listed) !== JSON.stringify(this.classes.classes)) {
      this.classes.list(listed);
      this.drawn = undefined;
      this.paint();
    }
    this.controls.draw();
  }

  withKeys(classes) {
    return classes.map((c) => ({ ...c, key: this.keys.ofClass(c.id) }));
  }

  /** The server answers, or it does not. Images that could not be fetched meanwhile are fetched once it is back. */
  connected(online) {
    if (online && this.outbox.problem) this.outbox.retry();
    if (online && this.away) {
      this.queue.wake();
      for (const question of [...this.queue.questions, ...(this.question ? [this.question] : [])]) {
        if (question.picture?.ready === false) Object.assign(question, { picture: undefined, broken: false });
      }
      if (this.question && !this.stage.visible) this.stage.show(this.question);
    }
    this.away = !online;
    this.sayIfEmpty();
  }

  /** Asks this person only some images from now on (POST /labeler/queue); resolves to {queue, left}. */
  narrow(changes) {
    return this.wishes.choose(changes);
  }

  // ---------- keys and buttons ----------

  toggleHints() {
    this.hints = !this.hints;
    this.peek = null;
    localStorage.setItem('labeler.hints', this.hints ? '1' : '0');
    this.paint();
    const none = this.hints && this.question && withoutHints(this.question);
    if (none) this.stage.flash(none);
    else if (this.hints && !this.question?.probs) this.stage.flash('Hints come with the first model');
  }

  /** The answered image on screen becomes an example of its class, or ceases to be one. */
  async useAsExample() {
    const { correcting } = this;
    const role = state()?.role;
    if (role === 'annotator') return this.stage.flash('A reviewer chooses the examples');
    const one = correcting?.kind === 'label' ? this.classes.now(correcting.class_id) : null;
    if (!one) return this.stage.flash('An example is an image you labeled: ← brings it back');
    const { sample_id: sampleId } = correcting.question;
    const use = !this.guide.isExample(one.id, sampleId);
    await this.server.useAsExample(sampleId, one.id, use).then(
      () => this.say(use ? `An example of ${one.name} now` : `No example of ${one.name} any more`),
      (problem) => this.say(problem.message),
    );
  }

  openHelp() {
    const focus = () => this.root.offsetParent && this.root.focus({ preventScroll: true });
    help(inSight(), (name) => shown(this.keys.of.get(name)), focus);
  }

  /** @param ms how long it stays in sight, where it must not be missed */
  say(text, ms = 0) {
    this.root.querySelector('.lab-say').textContent = text;
    this.stage.flash(text, null, ms);
  }
}
