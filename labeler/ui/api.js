// Talking to our own routes, and the page's shared state: one poll feeds the header, the canvas and the Learning tab.

const BASE = '/labeler/';
const TIMEOUT = 15_000;

/** Events of the page: 'state' (detail: the server's state), 'outbox', 'rate', 'online', 'signed-out'. */
export const bus = new EventTarget();
export const tell = (type, detail) => bus.dispatchEvent(new CustomEvent(type, { detail }));
export const hear = (type, listener) => bus.addEventListener(type, (event) => listener(event.detail));

/** A unique id; randomUUID would need https. */
export const uid = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Answer of a route as JSON. Throws Refused with the server's sentence, or an Error that says why there is none. */
export async function call(path, body) {
  const request = { signal: AbortSignal.timeout(TIMEOUT), cache: 'no-store' };
  if (body !== undefined) {
    Object.assign(request, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
  }
  const response = await fetch(BASE + path, request).catch(({ name }) => {
    throw new Error(name === 'TimeoutError' ? 'The server takes too long to answer.' : 'The server cannot be reached for now.');
  });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, typeof problem.detail === 'string' ? problem.detail : `The server answered ${response.status}.`);
}

/** Sends at the very end of a page's life, when no answer can be waited for. */
export const beacon = (path, body) => navigator.sendBeacon(BASE + path, new Blob([JSON.stringify(body)], { type: 'application/json' }));

// ---------- the state, polled while the page is in sight ----------

const EVERY = 1500;
const SOON = 250;
let newest = null;
let first = null;
let timer = 0;
let polling = false;
let polled = -Infinity; // when it was asked for last

export const state = () => newest;

/** The state as soon as it is known; starts the poll at the first call. */
export function firstState() {
  first ??= new Promise((resolve) => {
    bus.addEventListener('state', () => resolve(newest), { once: true });
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && poll());
    window.addEventListener('online', poll);
    poll();
  });
  return first;
}

/** Asks for the state in a moment: an answer brings a new ranking about a tenth of a second after it is stored. */
export function pollSoon(wait = SOON) {
  if (polling) return;
  clearTimeout(timer);
  timer = setTimeout(poll, wait);
}

/** Asks for the state now, unless that was done less than `age` ms ago. */
export function pollAfter(age) {
  if (performance.now() - polled > age) poll();
}

/** Asks for the state now, and again after a while. */
export async function poll() {
  clearTimeout(timer);
  if (polling) return;
  polling = true;
  polled = performance.now();
  try {
    newest = await call('state');
    tell('online', true);
    tell('state', newest);
  } catch (problem) {
    const signedOut = problem instanceof Refused && problem.status === 401;
    tell(signedOut ? 'signed-out' : 'online', false);
  } finally {
    polling = false;
    timer = setTimeout(poll, document.visibilityState === 'visible' ? EVERY : 10 * EVERY);
  }
}
