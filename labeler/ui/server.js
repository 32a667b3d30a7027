// What the labeling screen tells the server and hears from it: answers out, questions in, leases kept, names and keys.

import { beacon, call, pollAfter, pollSoon, Refused, state, tell } from './api.js';
import { askName, askPassword } from './dialogs.js';

const LAST = 100; // operations that fit into a beacon, which takes 64 kB
const REFUSED = 6000; // ms that a refused answer is told
const TRUST = 5000; // ms that a state may have been on its way
const NEWS = 700; // ms between two looks at the state with a quick hand

export class Server {
  constructor(canvas) {
    this.canvas = canvas;
    this.identified = 0; // times that a name or a password was given anew
    this.trusted = 0; // until when keys chosen here count, whatever the polled state says
  }

  message(body) {
    const { key, client } = this.canvas;
    return { project: key, client, ...body };
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
    const { root, name, outbox } = this.canvas;
    const given = state().role ? await askPassword(root, name, outbox.pending) : await askName(root);
    if (given !== name) return this.leave();
    this.identified += 1;
    outbox.retry();
  }

  /** Another person goes on in this tab. The new page drops what this one kept (canvas.js), the spare copy of the outbox aside. */
  leave() {
    this.canvas.stop();
    this.canvas.outbox.leave();
    location.reload();
  }

  // ---------- answers and questions ----------

  async refill(request) {
    const { questions, elsewhere, answered, narrowed } = await this.post('next', request);
    Object.assign(this.canvas, { elsewhere, waiting: answered, narrowed });
    return questions;
  }

  async commit(operations) {
    const { canvas } = this;
    const answer = await this.post('commit', { operations, annotator: canvas.name });
    for (const { uid: operation, reason, again } of answer.refused) {
      canvas.takeBack(operation, again);
      tell('refused', { uid: operation, reason });
      canvas.say(`An answer could not be stored: ${reason}${again ? ' Its image is asked again.' : ''}`, REFUSED);
    }
    for (const { sample_id: sampleId } of operations) canvas.keep.drop(`question.${sampleId}`);
    if (canvas.outbox.pending === operations.length) canvas.trust(answer.counts);
    if (canvas.queue.quick) pollSoon(NEWS);
    else pollSoon();
    return answer;
  }

  /** A quick hand has just seen its next image: the state comes now, and not into the next press. */
  news() {
    if (this.canvas.queue.quick) pollAfter(NEWS);
  }

  /** What is unsent when the page goes away. It stays in the outbox as well: sent twice, it is stored once. */
  sendLast() {
    const { outbox, name: annotator } = this.canvas;
    if (outbox.pending) beacon('commit', this.message({ operations: outbox.operations.slice(0, LAST), annotator }));
  }

  /** Sends what a closed tab of this person left unsent, and shows other tabs that this one lives. */
  adopt() {
    const { spare, outbox, answers } = this.canvas;
    if (outbox.pending) spare.write(outbox.operations);
    spare.adopt((operations) => {
      for (const { kind, sample_id: sampleId } of operations) {
        if (kind === 'undo') answers.ids.delete(sampleId);
        else answers.ids.add(sampleId);
      }
      outbox.push(...operations);
      this.canvas.say(`Sending answers a closed tab had kept: ${operations.length}`);
    });
  }

  /** Keeps what is on screen and ahead of it ours. What somebody else has meanwhile taken goes. */
  async renew() {
    if (document.visibilityState !== 'visible') return;
    const { canvas } = this;
    const mine = [...(canvas.current ? [canvas.current.sample_id] : []), ...canvas.queue.ids()];
    if (!mine.length) return;
    const before = canvas.outbox.sampleIds();
    const { held } = await this.post('renew', { sample_ids: mine }).catch(() => ({ held: mine }));
    const onTheWay = new Set([...before, ...canvas.outbox.sampleIds()]); // an undo among them may still reopen its image
    canvas.lose(new Set(mine.filter((sampleId) => !held.includes(sampleId) && !onTheWay.has(sampleId))));
  }

  // ---------- what a person chooses ----------

  /** Keeps the keys this person chose, and follows them. */
  async rekey(own) {
    await call('keys', { project: this.canvas.key, keys: own });
    this.trusted = 0;
    this.canvas.follow({ ...state(), keys: own });
    this.trusted = performance.now() + TRUST;
  }

  /** The state may be from before the keys that were chosen here. */
  get stale() {
    return performance.now() < this.trusted;
  }

  /** An image with a label shows its class, or does no longer. Its label is stored first. */
  async useAsExample(sampleId, classId, use) {
    const { outbox, key } = this.canvas;
    for (let waited = 0; outbox.sampleIds().includes(sampleId) && waited < 3000; waited += 50) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await call('classes', { project: key, kind: 'example', class_ids: [classId], sample_ids: [sampleId], use });
    pollSoon();
  }

  /** Another person sits down: new name, new holder. What the first one pressed is sent under the first name. */
  async rename() {
    const { outbox, stage, root, name: before } = this.canvas;
    await outbox.flush();
    if (outbox.pending) return stage.flash('Some answers are not saved yet. Change the name when they are.');
    await this.post('release', { sample_ids: [] }).catch(() => {});
    if (state().role) {
      await call('signout', {}).catch(() => {});
      return location.assign('/labeler/signin');
    }
    const name = await askName(root, before);
    if (!name || name === before) return this.renew();
    this.leave();
  }
}
