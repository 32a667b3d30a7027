// The spare copy of each tab's outbox, in localStorage, where it outlives the tab. A tab that lives refreshes its copy;
// a copy nobody has refreshed for a while is sent by another tab of the same project and person. Should its owner
// have been asleep only, the answers are sent twice and stored once.

const SILENT = 15_000; // ms
export const REFRESH = 5000; // ms, well below SILENT

export class Spare {
  constructor(project, client, annotator) {
    this.prefix = `labeler.outbox.${project}.`;
    this.own = this.prefix + client;
    this.annotator = annotator;
  }

  /** Keeps the operations a while longer; none takes the copy away. */
  write(operations) {
    try {
      if (!operations.length) return localStorage.removeItem(this.own);
      const copy = { time: Date.now(), annotator: this.annotator, operations };
      localStorage.setItem(this.own, JSON.stringify(copy));
    } catch {
      // storage is full or forbidden: the tab still has them
    }
  }

  /** Hands the operations of each tab that is gone to `take`, then takes its copy away. */
  adopt(take) {
    const others = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix) && key !== this.own);
    for (const key of others) {
      const { time, annotator, operations } = read(key);
      const alive = Math.abs(Date.now() - time) < SILENT;
      if (alive || annotator !== this.annotator) continue; // another person's wait until that person is back
      take(operations);
      localStorage.removeItem(key);
    }
  }
}

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}
