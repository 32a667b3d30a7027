// Sketches: the image on screen as the model draws it for each class. They come after the images, one request at a
// time, and only while hints are shown; nothing waits for them.

const TRIES = 12; // the drawing process takes some seconds to start
const AGAIN = 700; // ms

export class Sketches {
  /**
   * @param wanted () => questions that may be drawn, the most urgent in front
   * @param drawn (question) => called when its `drawing` has come
   */
  constructor(wanted, drawn) {
    Object.assign(this, { wanted, drawn, busy: false, tries: new WeakMap() });
  }

  /** Fetches what is missing, the most urgent first. */
  async fetch() {
    if (this.busy) return;
    this.busy = true;
    for (let question = this.next(); question; question = this.next()) await this.get(question);
    this.busy = false;
  }

  next() {
    return this.wanted().find((one) => one?.sketch && !one.drawing && (this.tries.get(one) ?? 0) < TRIES);
  }

  async get(question) {
    this.tries.set(question, (this.tries.get(question) ?? 0) + 1);
    try {
      const answer = await fetch(question.sketch.url, { signal: AbortSignal.timeout(10_000) });
      if (answer.status === 202) return await new Promise((resolve) => setTimeout(resolve, AGAIN));
      if (answer.status !== 200) return this.tries.set(question, TRIES);
      question.drawing = await createImageBitmap(await answer.blob());
      this.drawn(question);
    } catch {
      this.tries.set(question, TRIES); // away, or not a picture: the page is as good without
    }
  }
}
