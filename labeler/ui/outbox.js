// The outbox: answers in the order they were given, kept over a reload, sent one request at a time until acknowledged.

import { afterFrame } from './dom.js';

const BATCH = 50;
const FIRST_WAIT = 250;
const LONGEST_WAIT = 8000;

export class Outbox {
  /**
   * @param keep where the outbox survives a reload (holder.js)
   * @param spare where it survives the end of the tab (spare.js)
   * @param send async (operations) => {stored: [uid], refused: [{uid, reason}]}; storing a uid twice stores it once
   * @param changed called after every change
   */
  constructor(keep, spare, send, changed) {
    Object.assign(this, { keep, spare, send, changed, problem: null, wait: FIRST_WAIT, sending: false, left: false, timer: 0 });
    this.operations = keep.get('outbox', []);
  }

  get pending() {
    return this.operations.length;
  }

  sampleIds() {
    return this.operations.map((operation) => operation.sample_id);
  }

  /** Kept at once, sent as soon as the next image is painted. */
  push(...operations) {
    this.operations.push(...operations);
    this.save();
    afterFrame(() => this.flush());
  }

  save() {
    this.keep.set('outbox', this.operations);
    this.spare.write(this.operations);
    this.changed();
  }

  /** Another person goes on in this tab: nothing more is sent, and what is unsent stays in the spare copy, for who gave it. */
  leave() {
    this.left = true;
  }

  /** Sends at once, as after the network came back. */
  retry() {
    clearTimeout(this.timer);
    this.wait = FIRST_WAIT;
    this.flush();
  }

  async flush() {
    if (this.left || this.sending || !this.pending) return;
    this.sending = true;
    clearTimeout(this.timer);
    try {
      const answer = await this.send(this.operations.slice(0, BATCH));
      const settled = new Set([...answer.stored, ...answer.refused.map((refusal) => refusal.uid)]);
      const left = this.operations.filter((operation) => !settled.has(operation.uid));
      if (left.length === this.pending) throw new Error('The server acknowledged nothing.');
      this.operations = left;
      this.problem = null;
      this.wait = FIRST_WAIT;
    } catch (problem) {
      this.problem = problem;
      this.wait = Math.min(LONGEST_WAIT, 2 * this.wait);
    }
    this.sending = false;
    this.save();
    if (this.pending) this.timer = setTimeout(() => this.flush(), this.problem ? this.wait : 0);
  }
}
