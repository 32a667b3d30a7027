// Who holds the images: a client id of this browser tab, and what the tab keeps over a reload.
//
// sessionStorage survives a reload, but a duplicated tab gets a copy of it: two tabs would then hold the same images.
// So a tab asks on a BroadcastChannel whether its id is already in use, and if so takes a new one and leaves the copied
// outbox to the tab it was copied from.

import { uid } from './api.js';

const WAIT = 150; // ms for the other tab to answer; a tab that is alive answers in a few
const instance = uid();

/** The tab's place in sessionStorage, for one project. */
export class Keep {
  constructor(project) {
    this.prefix = `labeler.${project}.`;
  }
  get(name, fallback = null) {
    try {
      return JSON.parse(sessionStorage.getItem(this.prefix + name)) ?? fallback;
    } catch {
      return fallback;
    }
  }
  set(name, value) {
    try {
      sessionStorage.setItem(this.prefix + name, JSON.stringify(value));
    } catch {
      // storage is full or forbidden: the outbox still sends, only a reload could lose what is unsent
    }
  }
  drop(name) {
    sessionStorage.removeItem(this.prefix + name);
  }
  clear() {
    for (const name of Object.keys(sessionStorage)) if (name.startsWith(this.prefix)) sessionStorage.removeItem(name);
  }
}

/** The client id of this tab, its own even if the tab is a copy. Whatever was copied with it is dropped from `keep`. */
export async function claim(keep) {
  const channel = new BroadcastChannel(keep.prefix + 'holders');
  const known = keep.get('client');
  const mine = { client: known, certain: false };
  const taken = new Promise((resolve) => {
    channel.onmessage = ({ data }) => {
      if (data.from === instance || data.client !== mine.client) return;
      if (data.type === 'taken') resolve(true);
      // Of two tabs that ask at the same moment (a restored window) the smaller instance keeps the id.
      const first = mine.certain || instance < data.from;
      if (data.type === 'ask' && first) channel.postMessage({ type: 'taken', client: mine.client, from: instance });
    };
  });
  if (known) {
    channel.postMessage({ type: 'ask', client: known, from: instance });
    const copied = await Promise.race([taken, new Promise((resolve) => setTimeout(resolve, WAIT, false))]);
    if (copied) keep.clear();
  }
  mine.client = keep.get('client') ?? uid();
  mine.certain = true;
  keep.set('client', mine.client);
  return mine.client;
}
