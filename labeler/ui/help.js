// The help: the keys of the screen in sight, or where a finger goes there.

import { element } from './dom.js';
import { dialogOf } from './dialogs.js';

const CLASSES = ['1', '…', '9', '0', 'A', '…'];
const HELP = [['?'], 'This help'];

/** Keys of each screen, by the name of its tab. @param of what key an action has (keys.js) */
const KEYS = {
  label: (of) => [
    [CLASSES, 'Label with that class, and on to the next image'],
    [['/'], 'Find a class by its name; Enter labels'],
    [['Enter'], "Accept the model's guess (shows it first while hints are hidden)"],
    [['Backspace'], 'Undo: the image you answered last comes back'],
    [['Space', of('skip')], 'Skip'],
    [[of('unsure')], 'Unsure: somebody should look again'],
    [[of('flag')], 'Flag: something is wrong with the image'],
    [[of('hints')], "Show or hide the model's hints"],
    [[of('queue')], 'What is asked next: only a class, newest first; pause training'],
    [[of('guide')], 'Show or hide what the classes mean, with examples'],
    [[of('example')], 'The answered image in sight as an example of its class'],
    [['←', '→'], 'Back through your answers, and forward; a class key corrects'],
    [['+', '-', of('zoom')], 'Nearer, farther; actual pixels or fitted. Wheel and drag do it too'],
    [['Shift', '←', '…'], 'Move over an image that is larger than the stage'],
    [[',', '.'], 'Darker, brighter; with Shift less and more contrast'],
    [['Esc'], 'Back to the queue; the whole image in its own light'],
  ],
  grid: () => [
    [['Enter'], 'Label the unmarked ones with the class that is shown: one group, undone as one'],
    [['←', '→', '↑', '↓'], 'From image to image; Home and End to the first and the last'],
    [['Shift', '←', '…'], 'Mark on the way'],
    [['Space'], 'Mark this one as wrong, or take the mark away'],
    [CLASSES, 'This one is of that class; if it is marked, so are the other marked ones without a class'],
    [['[', ']'], 'The class before, the class after'],
    [['.'], 'More images like this one'],
    [['PageDown'], 'Other images'],
    [['Backspace'], 'Undo the last group'],
    [['Esc'], 'Take all marks away; back to the classes'],
  ],
  map: () => [
    [['←', '→', '↑', '↓'], 'Move the map; from image to image once one is looked at'],
    [['+', '-', '0'], 'Nearer, farther, all. Wheel and drag do it too'],
    [['Enter'], 'Look at the image in the middle'],
    [['L'], 'Draw around images; L again is a circle: arrows move it, + and - size it, Enter chooses'],
    [['Shift'], 'Held while dragging: draw around images'],
    [['Esc'], 'Leave the image, the lasso, the choice'],
  ],
  imagine: () => [
    [['←', '→'], 'A version back, a version on'],
    [['P'], 'Play the versions from the first to the newest'],
    [['R', 'G'], 'In the blind test: real, or generated'],
    [['Backspace'], 'In the blind test: the last answer again'],
  ],
  learning: () => [
    [['Tab'], 'From part to part; into the confusion matrix once'],
    [['←', '→', '↑', '↓'], 'From cell to cell of the confusion matrix; Home and End along a row'],
    [['Enter'], 'The images of that cell in the grid, to be corrected'],
  ],
  classes: () => [
    [['←', '→', '↑', '↓'], 'From cell to cell; Home and End to the first and the last class'],
    [['Enter', 'F2'], 'Another name; in the column of keys another key'],
    [['Alt', '↑'], 'Move the class up, with ↓ down'],
    [['Ctrl', 'Enter'], 'In the guideline: save it'],
  ],
  review: (of) => [
    [['Enter'], 'Decide as most people said'],
    [CLASSES, 'Decide for that class'],
    [[of('unsure')], 'Unsure'],
    [[of('flag')], 'Flag'],
    [['Space', of('skip')], 'Leave it open'],
    [['N'], 'Show or hide who said what'],
    [['Backspace'], 'Undo the last decision'],
  ],
};

const TAPS = {
  label: [
    ['A class', 'Label with that class, and on to the next image'],
    ['Undo', 'The image you answered last comes back'],
    ['Skip', 'Leave this image out'],
    ['Unsure', 'Somebody should look again'],
    ['Flag', 'Something is wrong with the image'],
    ['Hints', "Show or hide the model's hints"],
    ['Guide', 'What the classes mean, with examples'],
    ['Find', 'A class by a part of its name'],
    ['Asked by', 'What is asked next: only a class, newest first; pause training'],
    ['Two fingers', 'Look closer; one finger moves the image'],
    ['The ring', 'A goal for this sitting'],
    ['A small picture', 'That answer again; tap a class to correct it'],
    ['Your name', 'Another person sits down'],
  ],
  grid: [
    ['A class', 'The images the model takes for it'],
    ['An image', 'Mark it as wrong; once more takes the mark away'],
    ['The wide button', 'Label the unmarked ones: one group, undone as one'],
    ['More like this one', 'Images that look like the one marked last'],
    ['Undo', 'The last group is open again'],
  ],
  map: [
    ['One finger', 'Move the map'],
    ['Two fingers', 'Nearer, farther'],
    ['A point', 'Look at that image'],
    ['Lasso', 'Then draw around images to choose them'],
  ],
  imagine: [
    ['The slider', 'Back through the versions of the model'],
    ['Play', 'All versions, from the first to the newest'],
  ],
  learning: [['A cell of the matrix', 'Its images in the grid, to be corrected']],
  classes: [
    ['A name', 'Its guideline, colour and merging; twice quickly another name'],
    ['A key', 'Another key for that class'],
  ],
  review: [
    ['A class', 'Decide for that class'],
    ['Names', 'Show or hide who said what'],
  ],
};
const TOUCH = matchMedia('(hover: none), (pointer: coarse)');

/**
 * @param tab { name, title } of the screen in sight
 * @param of what key an action of the labeling screen has (keys.js)
 * @param closed called once it is closed
 */
export function help(tab, of, closed) {
  const dialog = dialogOf('help');
  if (dialog.open) return;
  const rows = TOUCH.matches
    ? TAPS[tab.name].map(([place, text]) => [element('dt', 'tap', place), text])
    : [...KEYS[tab.name](of), HELP].map(([keys, text]) => [keysOf(keys.filter(Boolean)), text]);
  dialog.querySelector('h2').textContent = `${TOUCH.matches ? 'What to tap' : 'Keyboard'}: ${tab.title}`;
  dialog.querySelector('dl').replaceChildren(...rows.flatMap(([term, text]) => [term, element('dd', '', text)]));
  dialog.querySelector('.close').textContent = TOUCH.matches ? 'Close' : 'Esc';
  dialog.querySelector('.close').onclick = () => dialog.close();
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close(); // beside the box
  };
  dialog.onkeydown = (event) => {
    if (event.key !== '?') return;
    event.preventDefault();
    dialog.close();
  };
  dialog.onclose = closed;
  dialog.showModal();
}

function keysOf(keys) {
  const term = element('dt');
  term.append(...keys.map((key) => (key === '…' ? element('span', '', '…') : element('kbd', '', key))));
  return term;
}
