// What the stage says while there is no image on it.

import { number } from './dom.js';

/**
 * [title, text, command to type]
 * @param told away: the server does not answer; counts of the project; pending: answers not stored yet; asked: the
 *   newest refill brought nothing; narrowed: this person asked for some images only; elsewhere: open images others hold; waiting: answered by this person, to be answered
 *   by others; exports: this person may; folder: the project's, as a command takes it
 */
export function emptyWords({ away, counts, pending, asked, narrowed, elsewhere, waiting, exports, folder }) {
  const project = /^[\w./-]+$/.test(folder) ? folder : `"${folder}"`;
  if (away) return ['The server cannot be reached', `${kept(pending)}If it has stopped, start it again:`, `labeler serve ${project}`];
  if (counts.pool + counts.measure === 0) {
    return ['No images yet', 'Images you import appear here by themselves:', `labeler import ${project} FOLDER`];
  }
  if (!asked) return ['Getting the next images…', ''];
  if (pending) return ['Storing your last answers…', ''];
  if (counts.open === 0 && !exports) return ['Everything is answered', DONE];
  if (counts.open === 0) return ['Everything is answered', `${DONE} The labels leave as a data set:`, `labeler export ${project} labels.csv`];
  if (narrowed) return ['Nothing is left among what you asked for', NARROWED];
  if (elsewhere) return ['The rest is on other screens', ELSEWHERE];
  if (waiting) return ['You have answered everything you are asked', others(waiting)];
  return ['Getting the next images…', ''];
}

const DONE =
  'Every image has an answer. Arrow keys go back through yours, the tab Grid corrects many at once; new images appear here by themselves.';
const ELSEWHERE =
  'Other people or tabs hold the last open images. They come here when they are given back, two minutes after a browser has gone without a word.';

const NARROWED = 'Every open image of it is answered, on another screen, or no longer taken for that class.';

function others(n) {
  const images = n === 1 ? 'One image waits' : `${number(n)} images wait`;
  return `${images} for the answers of other people. Arrow keys go back through yours; new images appear here by themselves.`;
}

function kept(n) {
  if (!n) return '';
  return `${number(n)} ${n === 1 ? 'answer is' : 'answers are'} kept in this tab and will be sent. `;
}
