// What the server has drawn: asked for until it is there, since the process that draws takes some seconds to start.

import { Refused } from './api.js';

const AGAIN = 300; // ms
const PATIENCE = 90_000; // ms; a data set, or a busy machine
const CANNOT = 'This could not be drawn: the process that draws has just ended, or the model needs code of your own. Try again in a moment.';

/** Response of a GET route that answers 202 while it draws. Throws Refused with the server's sentence, or what to do. */
export async function drawn(path, { waiting = () => {}, signal } = {}) {
  const until = performance.now() + PATIENCE;
  for (;;) {
    const response = await fetch(`/labeler/${path}`, { signal });
    if (response.status === 200) return response;
    if (response.status === 204 || (response.status === 202 && performance.now() > until)) throw new Refused(response.status, CANNOT);
    if (response.status !== 202) {
      const problem = await response.json().catch(() => ({}));
      throw new Refused(response.status, typeof problem.detail === 'string' ? problem.detail : `The server answered ${response.status}.`);
    }
    waiting();
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

/** The same as a picture to be drawn on a canvas. */
export async function picture(path, options) {
  return createImageBitmap(await (await drawn(path, options)).blob());
}

/** Hands a file to the browser. */
export async function save(path, name, options) {
  const url = URL.createObjectURL(await (await drawn(path, options)).blob());
  const link = document.createElement('a');
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Runs one at a time; of what is asked for meanwhile only the newest. */
export function newestOnly(run) {
  let next = null;
  let running = false;
  return async (...given) => {
    next = given;
    if (running) return;
    running = true;
    while (next) {
      const now = next;
      next = null;
      await run(...now);
    }
    running = false;
  };
}
