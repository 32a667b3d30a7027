// What is asked next: the panel (Q) in which a person narrows the questions and an admin sets how everybody is asked.
// Every change is kept by the server and acts on the next image.

import { call, poll } from './api.js';
import { dialogOf } from './dialogs.js';
import { element, number } from './dom.js';

const TRUST = 3000; // ms that a polled state may be from before a change made here
const ASKING = ['acquisition', 'random_share', 'measure_share', 'diversity']; // what changes the next question
const DIVERSITY = [
  [0, 'Off: the highest scores, however alike'],
  [1, 'Usual'],
  [2, 'Strong'],
];

export class Wishes {
  /**
   * @param classes the list of classes in sight (classes.js)
   * @param facts names the acquisitions (facts.js)
   * @param post async (path, body) => answer, as this tab and person
   * @param key of the project
   * @param changed called when the next question is to be another
   * @param say (text) => tells the person
   */
  constructor(root, { classes, facts, post, key, changed, say }) {
    Object.assign(this, { root, classes, facts, post, key, changed, say, wanted: {}, control: {}, trusted: 0, turn: Promise.resolve() });
    this.dialog = dialogOf('wishes');
    this.form = this.dialog.querySelector('form');
    this.note = this.dialog.querySelector('.wishes-say');
    const { elements } = this.form;
    const on = (name, act) => elements[name].addEventListener('change', () => act(elements[name].value));
    on('class_id', (id) => this.narrow({ class_id: id ? Number(id) : null }));
    on('newest', (newest) => this.narrow({ newest: newest === '1' }));
    on('acquisition', (acquisition) => this.set({ acquisition }));
    on('diversity', (diversity) => this.set({ diversity: Number(diversity) }));
    for (const name of ['random_share', 'measure_share']) {
      on(name, (percent) => this.set({ [name]: percent / 100 }));
      elements[name].addEventListener('input', () => this.tellShare(name));
    }
    elements.diversity.replaceChildren(...DIVERSITY.map(([value, text]) => option(value, text)));
    const click = (among, selector, act) => among.querySelectorAll(selector).forEach((button) => button.addEventListener('click', act));
    click(root, '.open-wishes', () => this.open());
    click(root, '.lift', () => this.lift());
    click(this.dialog, '.close', () => this.dialog.close());
    click(this.dialog, '.pause', () => this.set({ paused: !this.control.paused }));
    click(this.dialog, '.lift-selection', () => this.narrow({ sample_ids: null }));
    this.dialog.addEventListener('click', (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener('keydown', (event) => {
      if (event.key.toLowerCase() === 'q' && event.target.tagName !== 'SELECT') this.dialog.close();
    });
    this.dialog.addEventListener('close', () => root.focus({ preventScroll: true }));
    this.form.addEventListener('submit', (event) => event.preventDefault());
  }

  open() {
    if (this.dialog.open) return;
    this.note.textContent = '';
    this.draw();
    this.dialog.showModal();
  }

  /** Whether some images are left out. */
  get narrows() {
    const { class_id: classId, selected } = this.wanted;
    return (classId ?? null) !== null || (selected ?? null) !== null;
  }

  // ---------- what changes ----------

  /** One change is sent after the other, so that what the newest brings is in sight last. */
  inTurn(act) {
    const done = this.turn.then(act);
    this.turn = done.catch(() => {});
    return done;
  }

  /** What this person is asked; resolves to {queue, left}. Throws what the server refuses. */
  choose(changes) {
    return this.inTurn(async () => {
      const answer = await this.post('queue', changes);
      this.trusted = performance.now() + TRUST;
      this.take(answer.queue, this.control);
      return answer;
    });
  }

  async narrow(changes) {
    try {
      const { left } = await this.choose(changes);
      this.tell(this.narrows ? `${number(left)} ${left === 1 ? 'image is' : 'images are'} open among them.` : 'All images are asked.');
    } catch (problem) {
      this.refused(problem);
    }
  }

  lift() {
    this.narrow({ class_id: null, sample_ids: null, newest: false });
    this.root.focus({ preventScroll: true });
  }

  set(changes) {
    return this.inTurn(async () => {
      try {
        const { control } = await call('control', { project: this.key, ...changes });
        this.trusted = performance.now() + TRUST;
        this.take(this.wanted, control);
        this.tell('paused' in changes ? (control.paused ? 'Training waits. Labels still count.' : 'Training goes on.') : 'It acts on the next image.');
        poll(); // the header tells whether the trainer waits
      } catch (problem) {
        this.refused(problem);
      }
    });
  }

  refused(problem) {
    this.tell(`Not changed: ${problem.message}`);
    this.draw();
  }

  tell(text) {
    if (this.dialog.open) this.note.textContent = text;
    else this.say(text);
  }

  /** The state of the project as the poll brings it. */
  heed(known) {
    this.mayControl = known.role === null || known.role === 'admin';
    this.known = known;
    if (performance.now() > this.trusted) this.take(known.queue, known.control);
    else this.draw();
  }

  take(wanted, control) {
    const next = JSON.stringify([wanted, ASKING.map((name) => control[name])]);
    const another = this.next !== undefined && this.next !== next;
    Object.assign(this, { wanted, control, next });
    this.draw();
    if (another) this.changed();
  }

  // ---------- what is in sight ----------

  draw() {
    const { wanted, control } = this;
    this.root.querySelector('.fact-ask .by').textContent = wanted.newest ? 'Newest' : this.facts.name(control.acquisition ?? '');
    const banner = this.root.querySelector('.wishes-banner');
    banner.hidden = !this.narrows && !wanted.newest;
    if (!banner.hidden) banner.querySelector('p').replaceChildren(...this.words());
    if (this.known) this.fill();
  }

  /** What a person asked for, in words. */
  words() {
    const { class_id: classId, selected, title, newest } = this.wanted;
    const parts = [];
    if (selected != null) parts.push(element('span', '', 'Only '), element('b', '', title || 'your selection'), element('span', '', ` (${number(selected)})`));
    if (classId != null) parts.push(element('span', '', parts.length ? ', of these what the model takes for ' : 'Only what the model takes for '), element('b', '', this.classes.name(classId)));
    if (newest) parts.push(element('span', '', parts.length ? ', newest first' : 'Newest first'));
    return parts;
  }

  fill() {
    const { wanted, control, known, form, dialog } = this;
    const { elements } = form;
    const learned = Boolean(known.version_labels);
    const options = [option('', 'All images'), ...known.classes.map((c) => option(c.id, `Taken for ${c.name}`))];
    setOptions(elements.class_id, options, String(wanted.class_id ?? ''));
    elements.class_id.disabled = !learned && wanted.class_id == null;
    dialog.querySelector('.class-note').hidden = learned;
    setValue(elements.newest, wanted.newest ? '1' : '0');
    const selection = dialog.querySelector('.selection');
    selection.querySelector('span').textContent =
      wanted.selected == null ? 'None. Select images on the Map to be asked only those.' : `${wanted.title || 'Your selection'}: ${number(wanted.selected)} ${wanted.selected === 1 ? 'image' : 'images'}`;
    selection.querySelector('button').hidden = wanted.selected == null;
    dialog.querySelector('fieldset').disabled = !this.mayControl;
    dialog.querySelector('.only-admin').hidden = this.mayControl;
    setOptions(elements.acquisition, known.acquisitions.map((one) => option(one, this.facts.name(one))), control.acquisition);
    dialog.querySelector('.acquisition-note').textContent = this.facts.told(control.acquisition);
    setValue(elements.diversity, String(control.diversity));
    for (const share of ['random_share', 'measure_share']) {
      setValue(elements[share], String(Math.round(100 * control[share])));
      this.tellShare(share);
    }
    elements.measure_share.disabled = !known.counts.measure;
    dialog.querySelector('.measure-note').textContent = known.counts.measure ? 'Of all questions. Never narrowed, never learned from.' : 'No images are kept for it here: accuracy is measured on gold images, or not at all.';
    const pause = dialog.querySelector('.pause');
    pause.textContent = control.paused ? 'Resume training' : 'Pause training';
    dialog.querySelector('.pause-note').textContent = control.paused ? 'Paused. Labels still count and rank; gradient steps wait.' : 'While paused, labels still count and rank; gradient steps wait.';
  }

  tellShare(name) {
    const input = this.form.elements[name];
    const told = `${input.value}%`;
    input.nextElementSibling.textContent = told;
    input.setAttribute('aria-valuetext', told);
  }
}

function option(value, text) {
  const made = element('option', '', text);
  made.value = value;
  return made;
}

/** The options of a select, made anew only where they are others: an open list would close. */
function setOptions(select, options, chosen) {
  const told = options.map((one) => `${one.value} ${one.textContent}`).join('\n');
  if (select.dataset.told !== told) {
    select.dataset.told = told;
    select.replaceChildren(...options);
    select.value = chosen;
  }
  setValue(select, chosen);
}

/** A field somebody is at keeps what they are choosing. */
function setValue(field, value) {
  if (document.activeElement !== field || field.tagName === 'SELECT') field.value = value;
}
