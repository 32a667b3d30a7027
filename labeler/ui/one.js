// The class that is chosen on the Classes tab: its guideline and examples, images labeled so, merge and archive.

import { element, number } from './dom.js';
import { Labeled } from './labeled.js';
import { labels } from './words.js';

const LONGEST = 4000;
const MOST = 8;
const WRITE = 'What belongs here, what does not, and what to do when in doubt.';

export class One {
  /** @param manage the tab: `change`, `say`, `choose`, `active`, `mayChange` */
  constructor(root, manage) {
    Object.assign(this, { root, manage, shown: null, saving: null });
    this.drafts = new Map(); // class id -> {text, was}: typed and not stored yet, and the `event_id` of the guideline it changes
    this.$ = (selector) => root.querySelector(selector);
    this.text = this.$('textarea');
    this.text.addEventListener('input', () => this.typed());
    this.text.addEventListener('change', () => this.save());
    this.text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.save();
    });
    this.labeled = new Labeled(this.$('.one-images'), {
      use: (sampleIds) => this.use(sampleIds),
      split: (name, sampleIds) => this.split(name, sampleIds),
    });
    this.$('.one-merge select').addEventListener('change', () => this.promise());
    this.$('.merge').addEventListener('click', () => this.merge());
    this.$('.archive').addEventListener('click', () => this.archive());
  }

  /** Whether a text was typed, of this class or of another one, that is not stored. */
  get unsaved() {
    return this.manage.active.some(({ id }) => this.drafts.has(id));
  }

  /** This class, or none. A text that is being written stays in the field, and is there again when its class is. */
  show(one) {
    const another = one?.id !== this.shown?.id;
    if (another) this.save();
    this.$('.one-empty').hidden = Boolean(one);
    this.$('.one-body').hidden = !one;
    this.shown = one;
    if (!one) return;
    const { mayChange } = this.manage;
    this.root.style.setProperty('--c', one.colour);
    this.$('h2').textContent = one.name;
    this.$('h2').title = one.name;
    const draft = this.drafts.get(one.id);
    if (draft?.refused) Object.assign(draft, { was: one.event_id, refused: false }); // that somebody else wrote was told by now
    const text = draft?.text ?? one.guideline;
    if (this.text.value !== text) this.text.value = text;
    this.text.readOnly = !mayChange;
    this.text.placeholder = mayChange ? WRITE : 'No guideline yet.';
    if (another) this.told('');
    this.typed();
    this.examples(one, mayChange);
    for (const part of ['.one-images', '.one-merge', '.one-archive']) this.$(part).hidden = !mayChange;
    if (mayChange) {
      this.targets(one);
      this.labeled.show(one);
    }
    this.counted();
  }

  /** The figures, as they are now. */
  counted() {
    const one = this.shown;
    if (!one) return;
    this.$('.one-labels').textContent = labels(one.labels) + (one.gold ? ` · ${number(one.gold)} gold` : '');
    this.$('.archive-says').textContent = `No longer a class to choose. ${one.labels ? `Its ${labels(one.labels)} are set aside, and these images are not asked again` : 'It has no labels'}; Bring back undoes it.`;
    this.promise();
  }

  // ---------- guideline ----------

  typed() {
    this.$('.one-length').textContent = `${number(this.text.value.length)} / ${number(LONGEST)}`;
    const { drafts, shown: one } = this;
    if (this.text.value.trimEnd() === one.guideline) return drafts.delete(one.id);
    drafts.set(one.id, { was: one.event_id, ...drafts.get(one.id), text: this.text.value });
    return this.told('Not saved yet: leave the field, or Ctrl Enter');
  }

  told(text) {
    const target = this.$('.one-saved');
    if (target.textContent !== text) target.textContent = text;
  }

  async save() {
    const one = this.shown;
    if (!this.drafts.has(one?.id)) return;
    const { text, was } = this.drafts.get(one.id);
    if (this.saving === `${one.id} ${text}`) return; // leaving the field for another class says it twice
    this.saving = `${one.id} ${text}`;
    const failed = ({ status }) => Object.assign(this.drafts.get(one.id) ?? {}, { refused: status === 409 });
    const done = await this.manage.change({ kind: 'guideline', class_ids: [one.id], text, was }, () => '', failed);
    this.saving = null;
    if (!done) return;
    const draft = this.drafts.get(one.id); // perhaps with more that was typed meanwhile
    if (draft?.text === text) this.drafts.delete(one.id);
    else if (draft) draft.was = done.classes.find((each) => each.id === one.id).event_id;
    if (this.shown?.id !== one.id) return;
    this.show(this.shown);
    if (!this.drafts.has(one.id)) this.told('Saved');
  }

  // ---------- examples ----------

  examples(one, mayChange) {
    const { examples } = one;
    const how = mayChange ? `Up to ${MOST}: mark images below, or press E on an image of yours on the Label tab.` : 'A reviewer chooses them.';
    this.$('.one-examples-note').textContent = examples.length ? `${number(examples.length)} of ${MOST}` : `None yet. ${how}`;
    const now = JSON.stringify([one.id, examples, mayChange]);
    if (now === this.drawn) return;
    this.drawn = now;
    this.$('.one-examples').replaceChildren(...examples.map((picture) => this.example(picture, mayChange)));
  }

  example(picture, mayChange) {
    const item = element('li', picture.aside ? 'aside' : '');
    const image = element('img', Math.max(picture.width, picture.height) <= 128 ? 'pixelated' : '');
    Object.assign(image, { src: picture.thumb, alt: picture.name, draggable: false });
    item.title = picture.aside ? `${picture.name}: not labeled so now, so it is not shown` : picture.name;
    item.append(image);
    if (picture.aside) item.append(element('span', '', 'not labeled so'));
    if (!mayChange) return item;
    const away = element('button', '', '×');
    away.type = 'button';
    away.setAttribute('aria-label', `Take ${picture.name} away from the examples`);
    away.addEventListener('click', () => this.drop(picture));
    item.append(away);
    return item;
  }

  async drop(picture) {
    const change = { kind: 'example', class_ids: [this.shown.id], sample_ids: [picture.sample_id], use: false };
    if (await this.manage.change(change, () => 'One example less.')) this.$('.one-examples button')?.focus();
  }

  use(sampleIds) {
    const one = this.shown;
    const chosen = [...new Set([...one.examples.map((each) => each.sample_id), ...sampleIds])];
    const change = { kind: 'guideline', class_ids: [one.id], sample_ids: chosen };
    return this.manage.change(change, () => `${one.name} has ${number(chosen.length)} ${chosen.length === 1 ? 'example' : 'examples'}.`);
  }

  // ---------- surgery ----------

  async split(name, sampleIds) {
    const one = this.shown;
    const moved = `${number(sampleIds.length)} ${sampleIds.length === 1 ? 'image' : 'images'}`;
    const done = await this.manage.change({ kind: 'split', class_ids: [one.id], name, sample_ids: sampleIds });
    if (!done) return null;
    this.manage.say(`${moved} that were ${one.name} are ${name} now.`, () =>
      this.manage.change({ kind: 'unsplit', value: done.group_id }, () => `${moved} are ${one.name} again.`),
    );
    return done;
  }

  targets(one) {
    const select = this.$('.one-merge select');
    const others = this.manage.active.filter((each) => each.id !== one.id);
    const now = JSON.stringify([one.id, others.map(({ id, name }) => [id, name])]);
    if (now === this.offered) return;
    this.offered = now;
    select.replaceChildren(new Option('choose a class', ''), ...others.map(({ id, name }) => new Option(name, String(id))));
    select.disabled = !others.length;
  }

  target() {
    return this.manage.active.find((each) => String(each.id) === this.$('.one-merge select').value) ?? null;
  }

  /** What a merge will do, with the figures of this moment. */
  promise() {
    const [one, into] = [this.shown, this.target()];
    this.$('.merge').disabled = !into;
    const moved = one && (one.labels === 1 ? 'Its 1 label counts' : `Its ${labels(one.labels)} count`);
    const words = into
      ? `${one.labels ? `${moved} as ${into.name} from now on, which then has ${number(one.labels + into.labels)}` : `${one.name} has no labels yet; those to come count as ${into.name}`}. No label is rewritten: Bring back takes it apart again.`
      : 'For two classes that are one. Every label stays as it was given.';
    if (this.$('.merge-says').textContent !== words) this.$('.merge-says').textContent = words;
  }

  async merge() {
    const [one, into] = [this.shown, this.target()];
    if (!into) return;
    const done = await this.manage.change({ kind: 'merge', class_ids: [one.id], into: into.id }, () => `${one.name} counts as ${into.name} now.`);
    if (done) this.leave(into.id);
  }

  async archive() {
    const one = this.shown;
    const done = await this.manage.change({ kind: 'archive', class_ids: [one.id] }, () => `${one.name} is archived.`);
    if (done) this.leave(this.manage.active[0]?.id ?? null);
  }

  /** The class is gone from the list, and the focus with it. */
  leave(id) {
    this.manage.choose(id);
    this.manage.rows.focus(id);
  }
}
