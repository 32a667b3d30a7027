// How fast people label, and what their answers changed.

import { drawBars } from './bars.js';
import { element, number } from './dom.js';

const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', hour12: false });
const count = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

/** @param pace as GET /labeler/learning tells it */
export function showPace(panel, { sitting, people, answers, newest }) {
  const bars = (sitting?.bars ?? []).map((bar) => ({
    value: bar.per_hour,
    words: `${clock(bar.time)}: ${count(bar.labels, 'label')}, ${number(bar.per_hour)} an hour`,
  }));
  const ends = sitting ? [clock(sitting.begun), clock(sitting.ended)] : ['', ''];
  const of = sitting && count(sitting.minutes, 'minute');
  panel.querySelector('header p').textContent = sitting ? `${count(sitting.labels, 'label')} in the newest sitting; a bar is ${of}` : '';
  const label = bars.map((bar) => bar.words).join('; ');
  drawBars(panel.querySelector('.bars-chart'), bars, { ends, label, empty: 'No label yet', top: (n) => `${number(n)} / h` });
  panel.querySelector('.people').hidden = !people.length;
  panel.querySelector('.people tbody').replaceChildren(...people.map(person));
  panel.querySelector('.people-note').textContent = people.length
    ? `${answers < newest ? '' : `Of the newest ${number(newest)} answers. `}Seconds: median of answers given one by one, pauses over a minute apart.`
    : '';
}

function person(one) {
  const line = element('tr');
  const name = element('th', '', one.annotator);
  name.scope = 'row';
  name.title = one.annotator;
  const seconds = one.seconds_per_answer === null ? '–' : `${one.seconds_per_answer.toFixed(1)} s`;
  const cells = [number(one.labels), seconds, one.labels_per_hour === null ? '–' : number(one.labels_per_hour), number(one.pauses)];
  line.append(name, ...cells.map((text) => element('td', '', text)));
  line.children[2].title = `n=${number(one.seconds_n)}`;
  return line;
}

/** @param changes the newest publications, oldest first */
export function showChanges(panel, changes) {
  const bars = changes.map((change) => ({ value: change.flipped, words: changeWords(change), className: change.steps ? 'steps' : '' }));
  const newest = changes.findLast((change) => change.answers && !change.steps);
  panel.querySelector('header p').textContent = newest ? `At the newest answer: ${changeWords(newest)}` : 'Predictions that flipped from one ranking or version to the next';
  const ends = changes.length ? [`${number(changes[0].labels)} labels`, `${number(changes.at(-1).labels)} labels`] : ['', ''];
  const label = `Predictions that flipped: ${bars.map((bar) => bar.words).join('; ')}`;
  drawBars(panel.querySelector('.bars-chart'), bars, { ends, label, empty: 'Comes with the second ranking that knows a label' });
  panel.querySelector('.legend').hidden = !changes.length;
}

/** What one publication changed, with all that came into it: several answers are told together, as nobody can divide them. */
export function changeWords({ flipped, n, answers, steps }) {
  const from = [];
  if (answers) from.push(answers === 1 ? 'one answer' : `${number(answers)} answers together`);
  if (steps) from.push(count(steps, 'gradient step'));
  return `${number(flipped)} of ${number(n)} predictions flipped with ${from.join(' and ') || 'the same labels'}`;
}
