// A set of images that was chosen on another tab for the grid: kept over a reload as a whole, or not at all.

import { element } from './dom.js';

const PLACE = 'labeler.grid.chosen';

/** @param chosen {project, among: [sample id], decided, title}, or null for none */
export function keep(chosen) {
  try {
    sessionStorage.removeItem(PLACE);
    if (chosen) sessionStorage.setItem(PLACE, JSON.stringify(chosen));
  } catch {
    // It is larger than the browser keeps: a reload drops it.
  }
}

/** What was kept for this project, or null. */
export function kept(project) {
  try {
    const chosen = JSON.parse(sessionStorage.getItem(PLACE));
    return chosen?.project === project ? chosen : null;
  } catch {
    return null;
  }
}

/** The chip that names the set, with a button that takes it off. */
export function chip({ title, decided }, remove) {
  const made = element('div', 'grid-chosen');
  const close = element('button', '', '×');
  close.type = 'button';
  close.title = 'Back to all open images';
  close.setAttribute('aria-label', `${title}: back to all open images`);
  close.addEventListener('click', remove);
  made.append(element('span', '', title), ...(decided ? [element('small', '', 'labeled')] : []), close);
  return made;
}
