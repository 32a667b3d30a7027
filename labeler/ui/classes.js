// The class list: key, what the model draws for the class, name, count; with hints on, the model's probabilities.

import { element, number } from './dom.js';

const DENSE = 14; // more classes than this are listed in narrow rows
const SKETCH = 36; // pixels; larger drawings are made smaller, smooth

export class Classes {
  /** @param choose called with a class id when its button is clicked */
  constructor(root, classes, choose) {
    Object.assign(this, { root, choose, merged: {}, labeled: new Map() });
    this.list(classes);
  }

  /** Lists these classes, whatever was listed before. */
  list(classes) {
    const box = this.root.querySelector('.classes');
    this.classes = classes;
    this.byId = new Map(classes.map((c) => [c.id, c]));
    this.buttons = new Map(classes.map((c) => [c.id, this.button(c)]));
    box.classList.toggle('dense', classes.length > DENSE);
    this.root.classList.toggle('many-classes', classes.length > 2 * DENSE);
    box.replaceChildren(...this.buttons.values());
  }

  button(c) {
    const button = element('button', 'class');
    button.type = 'button';
    button.dataset.classId = c.id;
    button.title = c.name;
    button.style.setProperty('--c', c.colour);
    if (c.key) button.setAttribute('aria-keyshortcuts', c.key);
    button.append(element('i', 'bar'), element('kbd', '', c.key ? c.key.toUpperCase() : ''), element('i', 'drawn'));
    button.append(element('span', 'name', c.name), this.sketchOf(c), element('span', 'percent'), element('span', 'count'));
    button.addEventListener('click', () => this.choose(c.id));
    return button;
  }

  /** Where the image on screen is shown as the model draws it for this class. */
  sketchOf(c) {
    const canvas = element('canvas', 'sketch');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `This image, drawn as ${c.name}`);
    canvas.title = `This image, drawn as ${c.name}`;
    canvas.hidden = true;
    return canvas;
  }

  /** The class that a label counts as: one that was merged counts as another. */
  now(classId) {
    return this.byId.get(this.merged[classId] ?? classId);
  }

  name(classId) {
    return this.now(classId)?.name ?? 'an archived class';
  }

  colour(classId) {
    return this.now(classId)?.colour ?? '#888';
  }

  counts(perClass) {
    for (const [id, button] of this.buttons) {
      const n = perClass[id] || 0;
      button.querySelector('.count').textContent = n ? number(n) : '';
      this.labeled.set(id, n);
    }
    this.describe();
  }

  /** What is read aloud for each button: what is in sight on it. */
  describe() {
    for (const [id, button] of this.buttons) {
      const share = button.querySelector('.percent').textContent;
      const drawn = button.querySelector('.sketch').hidden ? '' : ', with a drawing of this image as it';
      button.setAttribute('aria-label', `${this.name(id)}, ${this.labeled.get(id) ?? 0} labeled${share && `, ${share} likely`}${drawn}`);
    }
  }

  /** The question's drawings beside its probabilities; null takes them away. */
  sketch(question) {
    const { drawing, sketch } = question ?? {};
    const places = new Map(drawing ? sketch.class_ids.map((id, i) => [id, i]) : []);
    const side = drawing?.height ?? 0;
    const width = drawing ? drawing.width / places.size : 0;
    for (const [id, button] of this.buttons) {
      const canvas = button.querySelector('.sketch');
      canvas.hidden = !places.has(id);
      if (canvas.hidden) continue;
      Object.assign(canvas, { width, height: side });
      canvas.getContext('2d').drawImage(drawing, places.get(id) * width, 0, width, side, 0, 0, width, side);
      canvas.classList.toggle('pixelated', side <= SKETCH);
    }
    this.describe();
  }

  /** Probabilities as bars and the guess marked; null takes them away. */
  hints(probs, guess) {
    for (const [id, button] of this.buttons) {
      const p = probs?.[id];
      button.querySelector('.percent').textContent = p === undefined || p < 0.005 ? '' : `${Math.round(100 * p)}%`;
      button.querySelector('.bar').style.width = p === undefined ? '0' : `${100 * p}%`;
      button.classList.toggle('guess', Boolean(probs) && id === guess);
    }
    this.root.querySelector('.classes').classList.toggle('hinted', Boolean(probs));
  }

  /** The class an image on screen has already, and the one just pressed. */
  mark(classId, pressed = false) {
    const marked = this.merged[classId] ?? classId;
    for (const [id, button] of this.buttons) button.classList.toggle(pressed ? 'pressed' : 'current', id === marked);
    if (pressed && classId !== null) setTimeout(() => this.buttons.get(classId)?.classList.remove('pressed'), 300);
  }

  /** One generated image beside each class name, cut out of the sheet (a row for each class). */
  draw(generated) {
    for (const [id, button] of this.buttons) {
      const row = generated ? generated.class_ids.indexOf(id) : -1;
      if (row >= 0) tile(button.querySelector('.drawn'), generated, row, 0, 28);
      button.querySelector('.drawn').hidden = row < 0;
    }
  }
}

/** Shows image (row, column) of a sheet of generated images in `target`, at most `size` pixels wide. */
export function tile(target, generated, row, column, size) {
  const { url, n, height, width, class_ids: ids } = generated;
  const factor = size >= width ? Math.floor(size / width) : size / width;
  Object.assign(target.style, {
    width: `${width * factor}px`,
    height: `${height * factor}px`,
    backgroundImage: `url(${url})`,
    backgroundSize: `${n * width * factor}px ${ids.length * height * factor}px`,
    backgroundPosition: `${-column * width * factor}px ${-row * height * factor}px`,
    imageRendering: factor >= 1 ? 'pixelated' : 'auto',
  });
}
