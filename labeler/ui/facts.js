// The line under the image: its name, why it is asked, how unsure the model is; and what the acquisitions are called.

import { accuracyText, number } from './dom.js';

const ACQUISITIONS = {
  coverage: ['Coverage', 'Typical images of groups nothing is labeled in yet, then what the model is unsure of'],
  margin: ['Margin', 'Images torn between two classes'],
  least_confident: ['Least confident', 'Images whose best guess is weak'],
  entropy: ['Entropy', 'Images spread over many classes'],
  bald: ['BALD', 'Images whose class depends on what the last layer has not learned yet'],
  badge: ['BADGE', 'Unsure and unlike each other, by what a label would change in the model'],
  typicality: ['Typicality', 'The most typical image of each group without a label, whatever the model thinks'],
  random: ['Random', 'Drawn at random, whatever the model thinks'],
};
const TORN = 'between '; // how a reason that names classes begins

export class Facts {
  constructor(root, classes) {
    Object.assign(this, { root, classes });
  }

  /** The facts of the question on screen. A reason that names classes is a hint, and shown as one only. */
  show(question, hinting, corrected) {
    this.text('.fact-name', question ? `${question.name}  ·  ${question.width} × ${question.height}` : '');
    const why = question?.why ?? '';
    this.text('.fact-why', why.startsWith(TORN) && !hinting ? 'the model is torn between two classes' : why);
    const doubt = this.root.querySelector('.fact-doubt');
    doubt.hidden = question?.doubt == null;
    if (!doubt.hidden) {
      doubt.querySelector('i i').style.width = `${100 * question.doubt}%`;
      doubt.querySelector('span').textContent = `doubt ${question.doubt.toFixed(2)}`;
    }
    const banner = this.root.querySelector('.stage-banner');
    banner.hidden = !corrected;
    if (corrected) {
      banner.querySelector('b').textContent = `Your answer: ${corrected}`;
      banner.querySelector('span').textContent = 'Press a class to correct it.';
    }
  }

  text(selector, text) {
    const target = this.root.querySelector(selector);
    target.textContent = text;
    target.title = text;
  }

  /** The header has no room for the accuracy on a narrow screen: there it stands above the classes. */
  accuracy(accuracies) {
    const place = this.root.querySelector('.side-accuracy');
    place.hidden = !accuracies.length;
    place.textContent = accuracies.map(accuracyText).join(', ');
  }

  name(acquisition) {
    return ACQUISITIONS[acquisition]?.[0] ?? acquisition.replaceAll('_', ' ');
  }

  told(acquisition) {
    return ACQUISITIONS[acquisition]?.[1] ?? '';
  }

  /** Which version drew the small pictures, and what those beside the figures are. */
  drawn(generated, sketched) {
    const note = this.root.querySelector('.drawn-note');
    note.hidden = !generated;
    if (!generated) return;
    const beside = sketched ? ' Beside the figures: this very image, drawn as that class.' : '';
    const text = `On the left: what the model draws for each class (version ${number(generated.version)}, ${number(generated.labels)} labels).${beside}`;
    if (note.textContent !== text) note.textContent = text;
  }
}
