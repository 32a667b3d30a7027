// The queue: decoded images ahead of the hand, as few as its pace needs.

const FEWEST = 2;
const MOST = 16;
const QUICK = 1.6; // answers a second; from here on the news of an answer would come in the midst of the next press
const GENTLY = [1000, 2000, 4000, 8000]; // ms until an empty answer is asked again: others may give images back

export class Queue {
  /**
   * @param fetch async ({n, have, replace}) => questions the server leased to us
   * @param release async (keep) => gives back every other lease of ours
   * @param held () => sample ids we hold besides the queue: on screen and in the outbox
   * @param wanted (sample_id) => false for one that is on screen or answered already, when the answer ARRIVES
   * @param arrived called when the queue grew or was found empty
   */
  constructor({ fetch, release, held, wanted, arrived }) {
    Object.assign(this, { fetch, release, held, wanted, arrived });
    this.questions = [];
    this.busy = false;
    this.empty = false; // the last answer brought nothing
    this.tries = 0;
    this.timer = 0;
    this.resting = false; // waiting for the timer, after an answer that brought nothing or did not come
    this.presses = [];
    this.latency = 100;
    this.stale = false;
    this.kept = 1; // questions that stay when it is stale
    this.fresh = true; // nothing fetched yet: give back what an earlier life of this tab held
  }

  /** The next question, or undefined. */
  take() {
    this.presses = [...this.presses.slice(-6), performance.now()];
    return this.questions.shift();
  }

  /** Takes out what is not ours any more. */
  drop(sampleIds) {
    this.questions = this.questions.filter((question) => !sampleIds.has(question.sample_id));
    this.fill();
  }

  putBack(question) {
    this.questions.unshift(question);
  }

  /** How many to hold: what the hand uses up in a second (or two round trips), and two more. */
  ahead() {
    const seconds = Math.max(1, (2 * this.latency) / 1000);
    return Math.min(MOST, Math.max(FEWEST, 2 + Math.ceil(seconds * this.pace())));
  }

  /** Answers a second, from the faster ones of the newest presses; 4 until it is known. */
  pace() {
    const gaps = this.presses.slice(1).map((time, i) => time - this.presses[i]);
    if (gaps.length < 2) return 4;
    gaps.sort((a, b) => a - b);
    return 1000 / Math.max(20, gaps[Math.floor(gaps.length / 4)]);
  }

  get quick() {
    return this.pace() > QUICK;
  }

  /** A new ranking is out: all but the next question are to be asked for anew. */
  rerank() {
    this.stale = true;
    this.wake();
  }

  /** Something else is wanted: all that is held ahead is to be asked for anew. */
  restart() {
    this.kept = 0;
    this.rerank();
  }

  /** Asks at once, whatever the last answer was: something has changed. */
  wake() {
    this.resting = false;
    this.fill();
  }

  /** Fetches what is missing. One request is under way at a time. */
  async fill() {
    if (this.busy || this.resting || (!this.stale && this.questions.length >= this.ahead())) return;
    this.busy = true;
    clearTimeout(this.timer);
    const { stale, kept } = this;
    Object.assign(this, { stale: false, kept: 1 }); // a ranking that comes out meanwhile makes it stale again
    try {
      await (stale && this.questions.length ? this.replaceAll(kept) : this.more());
      this.tries = this.empty ? this.tries + 1 : 0;
    } catch {
      this.stale ||= stale;
      this.kept = Math.min(this.kept, kept);
      this.tries += 1;
    }
    this.busy = false;
    this.resting = this.tries > 0;
    if (this.resting) this.timer = setTimeout(() => this.wake(), GENTLY[Math.min(this.tries, GENTLY.length) - 1]);
    this.arrived();
    this.fill();
  }

  async more() {
    const replace = this.fresh;
    const have = [...this.held(), ...this.ids()];
    const answer = await this.timed({ n: this.ahead() - this.questions.length, have, replace });
    this.fresh = false;
    const before = this.questions.length;
    this.add(answer);
    this.empty = this.questions.length === before;
  }

  /** The hand goes on with the old order until the new one is there; only then the rest is given back. */
  async replaceAll(kept) {
    const answer = await this.timed({ n: this.ahead(), have: [...this.held(), ...this.ids().slice(0, kept)], replace: false });
    this.questions = this.questions.slice(0, kept);
    this.add(answer);
    this.empty = !this.questions.length;
    await this.release([...this.held(), ...this.ids()]);
  }

  async timed(request) {
    const start = performance.now();
    const answer = await this.fetch(request);
    this.latency = 0.7 * this.latency + 0.3 * (performance.now() - start);
    return answer;
  }

  add(questions) {
    const have = new Set(this.ids());
    const fresh = questions.filter(({ sample_id: sampleId }) => !have.has(sampleId) && this.wanted(sampleId));
    this.questions.push(...fresh.map(load));
  }

  ids() {
    return this.questions.map((question) => question.sample_id);
  }
}

/** Starts to fetch and decode the picture of a question. `picture.ready` becomes true or false once it is known. */
export function load(question) {
  const element = new Image();
  element.draggable = false;
  element.alt = `Image ${question.name}`;
  element.dataset.sampleId = question.sample_id;
  element.src = question.image;
  if (question.thumb !== question.image) new Image().src = question.thumb; // the filmstrip has it even when offline
  const picture = { element, ready: null };
  picture.done = element.decode().then(
    () => (picture.ready = true),
    () => (picture.ready = false),
  );
  question.picture = picture;
  return question;
}
