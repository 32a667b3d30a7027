// The labeling canvas: the keys, and what they do to the image on screen. The hand never waits for the server.

import { beacon, bus, call, firstState, pollSoon, Refused, state, tell, uid } from './api.js';
import { Classes } from './classes.js';
import { Controls } from './controls.js';
import { askGoal, askName, askPassword, help } from './dialogs.js';
import { element } from './dom.js';
import { emptyWords } from './empty.js';
import { Facts } from './facts.js';
import { Film } from './film.js';
import { Find } from './find.js';
import { Sitting } from './goal.js';
import { claim, Keep } from './holder.js';
import { Keys, shown } from './keys.js';
import { Outbox } from './outbox.js';
import { Queue } from './queue.js';
import { Remap } from './remap.js';
import { Sketches } from './sketches.js';
import { REFRESH, Spare } from './spare.js';
import { Stage } from './stage.js';
import { Wishes } from './wishes.js';

const RENEW = 40_000; // ms; a lease lasts 120 s
const LAST = 100; // operations that fit into a beacon, which takes 64 kB
const SKETCHED = 3; // questions ahead of the hand whose drawings are asked for
const KEPT = 6; // answered images kept decoded, so that undo shows them at once
const TRUST = 5000; // ms that a state may have been on its way
const TICK = 5000; // ms between two looks at the clock of a sitting
const WORDS = { skip: 'Skipped', unsure: 'Unsure', flag: 'Flagged' };

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
    this.identified = 0; // times that a name or a password was given anew
    this.answers = []; // what Backspace undoes, oldest first
    this.answered = new Set(); // sample ids answered in this page's life
    this.hints = localStorage.getItem('labeler.hints') === '1';
    this.peek = null; // sample id whose guess was revealed by Enter
    this.named = 0; // when a class was last found by its name
    this.keys = new Keys(known.classes, known.keys);
    this.trusted = 0; // until when keys chosen here count, whatever the polled state says
    this.sitting = new Sitting(keep, (words) => this.congratulate(words));
    this.stage = new Stage(root);
    this.classes = new Classes(root, this.withKeys(known.classes), (classId) => this.answer('label', classId));
    this.sketches = new Sketches(() => this.toSketch(), (question) => question === this.question && this.paint());
    this.find = new Find(root, {
      classes: () => this.classes.classes,
      opened: () => this.question,
      choose: (classId, question) => this.answerByName(classId, question),
    });
    this.controls = new Controls(this);
    this.remap = new Remap(root, () => ({ classes: this.classes.classes, keys: this.keys }), (own) => this.rekey(own));
    this.classes.merged = known.merged;
    this.film = new Film(root, this.classes, (entry) => this.correct(entry));
    this.facts = new Facts(root, this.classes);
    this.wishes = new Wishes(root, {
      classes: this.classes,
      facts: this.facts,
      post: (path, body) => this.post(path, body),
      key: known.key,
      changed: () => this.queue.restart(),
      say: (text) => this.say(text),
    });
    this.counts = known.counts;
    this.elsewhere = 0; // open images on other screens, as the newest empty refill told
    this.waiting = 0; // and images that this person answered and others are still to answer
    this.perClass = { ...known.counts.per_class };
    this.spare = new Spare(known.key, client, name);
    this.outbox = new Outbox(keep, this.spare, (operations) => this.commit(operations), () => this.reportOutbox());
    this.queue = new Queue({
      fetch: (request) => this.refill(request),
      release: (sampleIds) => this.post('release', { sample_ids: sampleIds }),
      held: () => [...(this.current ? [this.current.sample_id] : []), ...this.outbox.sampleIds()],
      wanted: (sampleId) => sampleId !== this.current?.sample_id && !this.answered.has(sampleId),
      arrived: () => (this.current ? undefined : this.advance()),
    });
  }

  // ---------- begin and end ----------

  async begin() {
    const listeners = new AbortController();
    this.stop = () => listeners.abort();
    const { signal } = listeners;
    this.controls.listen(signal);
    this.root.hidden = false;
    this.root.dataset.client = this.client;
    this.root.focus({ preventScroll: true });
    window.addEventListener('beforeunload', (event) => this.outbox.pending && event.preventDefault(), { signal });
    window.addEventListener('pagehide', () => this.sendLast(), { signal });
    window.addEventListener('pageshow', (event) => event.persisted && this.renew(), { signal });
    document.addEventListener('visibilitychange', () => this.renew(), { signal });
    bus.addEventListener('state', ({ detail }) => this.heed(detail), { signal });
    bus.addEventListener('online', ({ detail }) => this.connected(detail), { signal });
    const timers = [
      setInterval(() => this.renew(), RENEW),
      setInterval(() => this.adopt(), REFRESH),
      setInterval(() => this.sitting.show(), TICK),
    ];
    signal.addEventListener('abort', () => timers.forEach(clearInterval));
    this.outbox.save();
    this.outbox.flush();
    this.adopt();
    await this.remember();
    await this.resume();
    this.heed(state());
    this.askChanges();
    this.queue.fill();
    this.sitting.show();
  }

  /** What is unsent when the page goes away. It stays in the outbox as well: sent twice, it is stored once. */
  sendLast() {
    if (this.outbox.pending) beacon('commit', this.message({ operations: this.outbox.operations.slice(0, LAST) }));
  }

  /** Sends what a closed tab of this person left unsent, and shows other tabs that this one lives. */
  adopt() {
    if (this.outbox.pending) this.spare.write(this.outbox.operations);
    this.spare.adopt((operations) => {
      for (const { kind, sample_id: sampleId } of operations) {
        if (kind === 'undo') this.answered.delete(sampleId);
        else this.answered.add(sampleId);
      }
      this.outbox.push(...operations);
      this.say(`Sending answers a closed tab had kept: ${operations.length}`);
    });
  }

  /** The filmstrip and what Backspace undoes, as the record has them; what is still in the outbox comes on top. */
  async remember() {
    const { answers } = await call('history').catch(() => ({ answers: [] }));
    const questions = new Map(answers.map((answer) => [answer.sample_id, answer]));
    const counted = { ...this.perClass }; // the record's answers are in the record's counts
    for (const answer of answers.reverse()) this.note(answer.uid, answer.kind, answer.class_id, questions.get(answer.sample_id));
    this.perClass = counted;
    for (const { uid: operation, kind, sample_id: sampleId, class_id: classId, undoes } of this.outbox.operations) {
      const question = questions.get(sampleId) ?? this.keep.get(`question.${sampleId}`);
      if (!question || this.answers.some((answer) => answer.uid === operation)) continue;
      questions.set(sampleId, question);
      if (kind === 'undo') this.forget(undoes);
      else this.note(operation, kind, classId, question);
    }
  }

  /** The image that was on screen before a reload comes first, if it is still ours. */
  async resume() {
    const shown = this.keep.get('screen');
    if (!shown || this.answered.has(shown.sample_id)) return;
    const { held } = await this.post('renew', { sample_ids: [shown.sample_id] }).catch(() => ({ held: [] }));
    if (held.includes(shown.sample_id) && !this.current) this.show(shown);
  }

  // ---------- answers ----------

  get question() {
    return this.correcting?.question ?? this.current;
  }

  /** One answer to the image on screen. Nothing is answered that is not visible. */
  answer(kind, classId = null) {
    const question = this.question;
    if (!question) return this.stage.flash('There is no image to answer yet');
    if (question.broken && kind === 'label') return this.stage.flash('Nobody can see this image: skip or flag it');
    if (!this.stage.visible && !question.broken) return this.stage.flash('One moment, the image is coming');
    const operation = uid();
    this.note(operation, kind, classId, question);
    this.keep.set(`question.${question.sample_id}`, plain(question));
    const ms = this.stage.elapsed();
    this.outbox.push({ uid: operation, kind, sample_id: question.sample_id, class_id: classId, ms, ...echo(question) });
    this.sitting.count();
    if (kind === 'label') this.stage.flash(this.classes.name(classId), this.classes.colour(classId));
    else this.stage.flash(WORDS[kind]);
    this.classes.mark(classId, true);
    if (this.correcting) this.goBack();
    else this.advance();
  }

  /** Enter: the guess is accepted where it is in sight; otherwise it is shown first. */
  accept() {
    const question = this.question;
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
    const answer = this.answers.at(-1);
    if (!answer) return this.stage.flash('Nothing to undo');
    const { question } = answer;
    this.forget(answer.uid);
    this.sitting.count(-1);
    this.outbox.push({ uid: uid(), kind: 'undo', sample_id: question.sample_id, undoes: answer.uid, ...echo(question) });
    this.stage.flash(`Undone: ${answer.kind === 'label' ? this.classes.name(answer.class_id) : WORDS[answer.kind]}`);
    if (answer.before) return this.correct(this.film.find(question.sample_id));
    this.correcting = null;
    if (this.current) this.queue.putBack(this.current);
    this.show(question);
  }

  note(operation, kind, classId, question) {
    const before = this.film.before(question.sample_id);
    this.answers.push({ uid: operation, kind, class_id: classId, question, before });
    const old = this.answers.at(-KEPT)?.question ?? {};
    delete old.picture; // a decoded photograph is large; it is fetched again when looked at
    delete old.drawing;
    this.answered.add(question.sample_id);
    this.film.put(question, kind, classId);
    this.recount(before, -1);
    this.recount({ kind, class_id: classId }, +1);
  }

  forget(operation) {
    const answer = this.answers.find((one) => one.uid === operation);
    if (!answer) return;
    this.answers = this.answers.filter((one) => one !== answer);
    this.film.restore(answer.question, answer.before);
    if (!answer.before) this.answered.delete(answer.question.sample_id);
    this.recount({ kind: answer.kind, class_id: answer.class_id }, -1);
    this.recount(answer.before, +1);
  }

  /** An answer that was refused. With `again`, as for a class that was archived meanwhile, its image is asked again. */
  takeBack(operation, again) {
    const answer = this.answers.find((one) => one.uid === operation);
    this.forget(operation);
    if (!again || answer?.kind !== 'label' || answer.before) return;
    this.queue.putBack(answer.question);
    if (!this.current) this.advance();
  }

  recount(answer, n) {
    if (answer?.kind === 'label') this.perClass[answer.class_id] = Math.max(0, (this.perClass[answer.class_id] || 0) + n);
  }

  // ---------- what is on screen ----------

  advance() {
    const question = this.queue.take() ?? null;
    this.show(question);
    this.queue.fill();
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
    this.classes.counts(this.perClass);
    this.film.select(correcting);
    this.facts.show(question, hinting, correcting && this.film.word(correcting));
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
    const told = { away, counts, elsewhere, waiting, narrowed, pending: this.outbox.pending, asked: this.queue.empty, folder: state().folder };
    this.stage.say(...emptyWords(told));
    this.root.querySelector('.stage-message .lift').hidden = !narrowed || this.away || !this.queue.empty || this.counts.open === 0;
  }

  // ---------- the server ----------

  message(body) {
    return { project: this.key, client: this.client, ...body };
  }

  async post(path, body) {
    const { identified } = this;
    try {
      return await call(path, this.message(body));
    } catch (problem) {
      const nameless = problem instanceof Refused && problem.status === 401;
      if (nameless && identified === this.identified) await this.identify(); // not for a request from before the name
      throw problem;
    }
  }

  /** The server does not know who this is: a typed name was forgotten, or a sign-in has ended. */
  async identify() {
    if (!state().role) await askName(this.root);
    else await askPassword(this.root, this.name, this.outbox.pending);
    this.identified += 1;
    this.outbox.retry();
  }

  async refill(request) {
    const { questions, elsewhere, answered, narrowed } = await this.post('next', request);
    Object.assign(this, { elsewhere, waiting: answered, narrowed });
    return questions;
  }

  async commit(operations) {
    const answer = await this.post('commit', { operations });
    for (const { uid: operation, reason, again } of answer.refused) {
      this.takeBack(operation, again);
      tell('refused', { uid: operation, reason });
      this.say(`An answer could not be stored: ${reason}`);
    }
    for (const { sample_id: sampleId } of operations) sessionStorage.removeItem(`${this.keep.prefix}question.${sampleId}`);
    if (this.outbox.pending === operations.length) this.trust(answer.counts);
    pollSoon();
    return answer;
  }

  /** The server's counts hold once nothing of ours is on its way. */
  trust(counts) {
    this.counts = counts;
    this.perClass = { ...counts.per_class };
    this.classes.counts(this.perClass);
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
    const stale = performance.now() < this.trusted; // the state may be from before the change made here
    this.keys = new Keys(classes, stale ? this.keys.own : keys);
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

  /** Keeps the keys this person chose, and follows them. */
  async rekey(own) {
    await call('keys', { project: this.key, keys: own });
    this.trusted = 0;
    this.follow({ ...state(), keys: own });
    this.trusted = performance.now() + TRUST;
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

  /** Keeps what is on screen and ahead of it ours. What somebody else has meanwhile taken goes. */
  async renew() {
    if (document.visibilityState !== 'visible') return;
    const mine = [...(this.current ? [this.current.sample_id] : []), ...this.queue.ids()];
    if (!mine.length) return;
    const before = this.outbox.sampleIds();
    const { held } = await this.post('renew', { sample_ids: mine }).catch(() => ({ held: mine }));
    const onTheWay = new Set([...before, ...this.outbox.sampleIds()]); // an undo among them may still reopen its image
    const lost = new Set(mine.filter((sampleId) => !held.includes(sampleId) && !onTheWay.has(sampleId)));
    this.queue.drop(lost);
    if (lost.has(this.current?.sample_id) && !this.answered.has(this.current.sample_id)) {
      if (!this.correcting) this.stage.flash('That image was answered by somebody else');
      this.current = null;
      if (!this.correcting) this.advance();
    }
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

  openHelp() {
    help(this.root, (name) => shown(this.keys.of.get(name)));
  }

  askGoal() {
    askGoal(this.root, this.sitting.goal, (unit, n) => {
      this.sitting.aim(unit, n);
      this.congratulate(null);
    });
  }

  /** The goal is reached: said once, over the image's edge, and nothing is interrupted. null takes it away. */
  congratulate(words) {
    const note = this.root.querySelector('.goal-note');
    note.replaceChildren();
    if (!words) return;
    const close = element('button', 'close', '×');
    close.type = 'button';
    close.setAttribute('aria-label', 'Close');
    close.addEventListener('click', () => note.replaceChildren());
    note.append(element('b', '', words[0]), element('span', '', words[1]), close);
  }

  /** Another person sits down: new name, new holder. What the first one pressed is sent under the first name. */
  async rename() {
    await this.outbox.flush();
    if (this.outbox.pending) return this.stage.flash('Some answers are not saved yet. Change the name when they are.');
    await this.post('release', { sample_ids: [] }).catch(() => {});
    if (state().role) {
      await call('signout', {}).catch(() => {});
      return location.assign('/labeler/signin');
    }
    const name = await askName(this.root, this.name);
    if (!name || name === this.name) return this.renew();
    this.keep.clear();
    location.reload();
  }

  say(text) {
    this.root.querySelector('.lab-say').textContent = text;
    this.stage.flash(text);
  }
}

/** Why an image has no hints, '' for one that has. The model has learned what others said of an image. */
function withoutHints({ purpose, blind }) {
  if (purpose === 'measure') return 'No hints here: this image measures accuracy';
  return blind ? 'No hints here: this image is asked of several people' : '';
}

/** What an answer carries of the question it answers. */
function echo({ version, acquisition, score, rank, guess, probs, purpose }) {
  const known = { version, acquisition, score, rank, predicted_class_id: guess, predicted_prob: probs?.[guess], purpose };
  return Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined && value !== null));
}

/** A question without its pictures, as it can be kept. */
function plain({ picture, drawing, ...question }) {
  return question;
}
