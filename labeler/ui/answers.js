// The answers of this sitting: what Backspace takes back, the filmstrip, and what they add to the counts of the classes.

import { call } from './api.js';

const KEPT = 6; // answered images kept decoded, so that undo shows them at once

export class Answers {
  /** @param perClass labels of each class, as the record has them */
  constructor(film, perClass) {
    Object.assign(this, { film, perClass: { ...perClass }, entries: [], ids: new Set() });
    // entries: {uid, kind, class_id, question, before}, oldest first; ids: samples answered in this page's life
  }

  get newest() {
    return this.entries.at(-1);
  }

  has(sampleId) {
    return this.ids.has(sampleId);
  }

  note(operation, kind, classId, question) {
    const before = this.film.before(question.sample_id);
    this.entries.push({ uid: operation, kind, class_id: classId, question, before });
    const old = this.entries.at(-KEPT)?.question ?? {};
    delete old.picture; // a decoded photograph is large; it is fetched again when looked at
    delete old.drawing;
    this.ids.add(question.sample_id);
    this.film.put(question, kind, classId);
    this.recount(before, -1);
    this.recount({ kind, class_id: classId }, +1);
  }

  /** Takes an answer out again; returns it. */
  forget(operation) {
    const answer = this.entries.find((one) => one.uid === operation);
    if (!answer) return null;
    this.entries = this.entries.filter((one) => one !== answer);
    this.film.restore(answer.question, answer.before);
    if (!answer.before) this.ids.delete(answer.question.sample_id);
    this.recount({ kind: answer.kind, class_id: answer.class_id }, -1);
    this.recount(answer.before, +1);
    return answer;
  }

  recount(answer, n) {
    if (answer?.kind === 'label') this.perClass[answer.class_id] = Math.max(0, (this.perClass[answer.class_id] || 0) + n);
  }

  /** The answers that the record has; what is still in the outbox comes on top. */
  async remember(outbox, keep) {
    const { answers } = await call('history').catch(() => ({ answers: [] }));
    const questions = new Map(answers.map((answer) => [answer.sample_id, answer]));
    const counted = { ...this.perClass }; // the record's answers are in the record's counts
    for (const answer of answers.reverse()) this.note(answer.uid, answer.kind, answer.class_id, questions.get(answer.sample_id));
    this.perClass = counted;
    for (const { uid: operation, kind, sample_id: sampleId, class_id: classId, undoes } of outbox.operations) {
      const question = questions.get(sampleId) ?? keep.get(`question.${sampleId}`);
      if (!question || this.entries.some((answer) => answer.uid === operation)) continue;
      questions.set(sampleId, question);
      if (kind === 'undo') this.forget(undoes);
      else this.note(operation, kind, classId, question);
    }
  }
}
