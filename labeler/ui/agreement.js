// How far people agree: key figures with their intervals, a matrix of pairs, which classes are taken for each other.

import { element, number } from './dom.js';

const FIGURES = [
  ['percent', 'The same label'],
  ['alpha', "Krippendorff's alpha"],
  ['fleiss_kappa', "Fleiss' kappa"],
];
const CONFUSIONS = 6;

/** @param named whether people are shown by name; otherwise they are letters */
export function showAgreement(root, report, named) {
  const $ = (selector) => root.querySelector(selector);
  const letters = new Map(report.people.map(({ name }, i) => [name, named ? name : `Annotator ${i + 1}`]));
  $('.review-agreement header p').textContent = report.images
    ? `On ${number(report.images)} ${report.images === 1 ? 'image' : 'images'} with labels of two or more people.`
    : 'No image has labels of two people yet: labeler overlap asks several people for a share of the images.';
  $('.review-figures').replaceChildren(...(report.images ? FIGURES.map(([name, title]) => figure(title, report[name])) : []));
  $('.review-pairs').replaceChildren(...(report.pairs.length ? [matrix(report, letters)] : []));
  $('.review-confused').replaceChildren(...report.confusions.slice(0, CONFUSIONS).map(confusion));
}

function figure(title, { value, interval, n }) {
  const made = element('div', 'review-figure');
  const note = value === null ? `${number(n)} images tell too little` : `95% interval ${interval.map(short).join(' to ')}, n=${number(n)}`;
  made.append(element('span', '', title), element('b', '', value === null ? '–' : short(value)), element('small', '', note));
  return made;
}

/** Cohen's kappa of each two people; who agrees less than the others do is marked. */
function matrix(report, letters) {
  const people = report.people.filter(({ name }) => report.pairs.some((pair) => pair.people.includes(name)));
  const kappa = new Map(report.pairs.map((pair) => [pair.people.join('\n'), pair.cohen_kappa]));
  const table = element('table');
  table.append(element('caption', '', "Cohen's kappa of each two people, with the number of images"));
  const head = element('tr');
  head.append(element('td'), ...people.map(({ name }) => element('th', '', letters.get(name))));
  table.append(head);
  for (const one of people) {
    const row = element('tr');
    const who = element('th', one.outlier ? 'outlier' : '', letters.get(one.name));
    if (one.outlier) who.title = 'Agrees less with the others than these with each other';
    row.append(who);
    for (const other of people) {
      const found = kappa.get(`${one.name}\n${other.name}`) ?? kappa.get(`${other.name}\n${one.name}`);
      const cell = element('td', '', found && found.value !== null ? short(found.value) : '');
      if (found?.value > 0) cell.style.setProperty('--share', `${Math.round(60 * found.value)}%`);
      if (found) cell.append(element('small', '', `n=${number(found.n)}`));
      row.append(cell);
    }
    table.append(row);
  }
  return table;
}

function confusion({ classes: [one, other], n }) {
  const line = element('li');
  line.append(element('b', '', `${one} or ${other}`), element('span', '', `${number(n)} ${n === 1 ? 'time' : 'times'}`));
  return line;
}

const short = (value) => value.toFixed(2);
