// Where the eye is on the image: zoom, place, brightness and contrast. Fitted is the rest position.

const SMALL = 128; // pixels of the longer side; pictures up to this are shown pixel by pixel
const CALM = 480; // screen pixels they grow to; beyond that the eye sees squares and no picture
const LARGEST = 1.5; // a large picture fitted
const MARGIN = 24;
const MOST = { small: 200, large: 16 }; // screen pixels a pixel
const LONGEST = 24_000; // screen pixels of a side, which browsers still draw
const STEP = 1.25;
const LIGHT = 0.1;

export class Zoom {
  /**
   * @param view the element that shows a part of it, `frame` what the image stands in
   * @param changed called when zoom or light is another one
   */
  constructor(view, frame, changed) {
    Object.assign(this, { view, frame, changed, held: localStorage.getItem('labeler.hold') === '1' });
    this.place = { factor: null, x: 0, y: 0 }; // factor null: fitted; x, y: of its centre from the view's, in pixels
    this.light = { brightness: 1, contrast: 1 };
    this.fingers = new Map();
    view.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    view.addEventListener('dblclick', (event) => onImage(event) && this.toggle(this.point(event)));
    for (const type of ['pointerdown', 'pointermove', 'pointerup', 'pointercancel']) {
      view.addEventListener(type, (event) => this.pointer(type, event));
    }
    this.measure();
    new ResizeObserver(() => {
      this.measure();
      this.draw();
    }).observe(view);
  }

  /** The size of the view is read when it changes: read after each answer, it would have the page laid out twice. */
  measure() {
    Object.assign(this, { width: this.view.clientWidth, height: this.view.clientHeight });
  }

  get image() {
    return this.frame.querySelector('img');
  }

  /** Another image: whole again, unless the person holds the place. The light stays as it is. */
  renew() {
    if (!this.held) this.place = { factor: null, x: 0, y: 0 };
    this.draw();
  }

  /** The whole image in its own light. */
  reset() {
    this.place = { factor: null, x: 0, y: 0 };
    this.light = { brightness: 1, contrast: 1 };
    this.draw();
  }

  /** True when something of this is not at rest. */
  get active() {
    return this.place.factor !== null || this.light.brightness !== 1 || this.light.contrast !== 1;
  }

  hold(held) {
    this.held = held;
    localStorage.setItem('labeler.hold', held ? '1' : '0');
  }

  /** One step nearer (1) or farther (-1). */
  step(direction) {
    const now = this.factor();
    const wanted = now * STEP ** direction;
    if (!this.small) return this.to(wanted);
    const dense = window.devicePixelRatio || 1;
    return this.to((Math.round(now * dense) + direction * Math.max(1, Math.round(now * dense * (STEP - 1)))) / dense);
  }

  /** Actual pixels (of a small image: as large as the stage), or fitted. */
  toggle(at) {
    if (this.place.factor !== null) this.place = { factor: null, x: 0, y: 0 };
    else return this.to(this.small ? this.room() : 1, at);
    return this.draw();
  }

  /** Zooms so that what is at `at` (from the view's centre) stays there. Smaller than fitted is fitted. */
  to(factor, at = { x: 0, y: 0 }) {
    const before = this.factor();
    const wanted = this.possible(factor);
    const ratio = wanted / before;
    const { x, y } = this.place;
    this.place = { factor: wanted, x: at.x - (at.x - x) * ratio, y: at.y - (at.y - y) * ratio };
    if (wanted <= this.fitted() && wanted < 1) this.place = { factor: null, x: 0, y: 0 };
    if (wanted === this.fitted()) this.place.factor = null;
    this.draw();
  }

  pan(dx, dy) {
    this.place.x += dx;
    this.place.y += dy;
    this.draw();
  }

  /** @param what 'brightness' or 'contrast' */
  lighten(what, steps) {
    this.shine(what, this.light[what] + LIGHT * steps);
  }

  shine(what, value) {
    this.light[what] = Math.min(3, Math.max(0.2, Math.round(100 * value) / 100));
    this.draw();
  }

  draw() {
    const { image, view, frame } = this;
    const { brightness, contrast } = this.light;
    frame.style.filter = brightness === 1 && contrast === 1 ? '' : `brightness(${brightness}) contrast(${contrast})`;
    if (image?.naturalWidth) {
      const factor = this.factor();
      const [width, height] = [image.naturalWidth * factor, image.naturalHeight * factor];
      const [free, spare] = [Math.max(0, (width - this.width) / 2), Math.max(0, (height - this.height) / 2)];
      this.place.x = Math.min(free, Math.max(-free, this.place.x));
      this.place.y = Math.min(spare, Math.max(-spare, this.place.y));
      this.size(image, factor);
      const left = Math.round((this.width - width) / 2 + this.place.x); // whole pixels: hard ones stay hard
      const top = Math.round((this.height - height) / 2 + this.place.y);
      frame.style.transform = `translate(${left}px, ${top}px)`;
      view.classList.toggle('pans', free > 0 || spare > 0);
    }
    this.changed();
  }

  /** Gives an image the size at which it is fitted. */
  fit(image) {
    this.size(image, this.fitted(image));
  }

  size(image, factor) {
    image.style.width = `${image.naturalWidth * factor}px`;
    image.style.height = `${image.naturalHeight * factor}px`;
    image.classList.toggle('pixelated', factor >= 2);
  }

  // ---------- factors: screen pixels a pixel ----------

  get small() {
    const { image } = this;
    return Boolean(image) && Math.max(image.naturalWidth, image.naturalHeight) <= SMALL;
  }

  factor() {
    return this.place.factor ?? this.fitted();
  }

  room(image = this.image) {
    if (!image?.naturalWidth) return 1;
    return Math.min((this.width - MARGIN) / image.naturalWidth, (this.height - MARGIN) / image.naturalHeight);
  }

  fitted(image = this.image) {
    return image ? scale(this.room(image), Math.max(image.naturalWidth, image.naturalHeight)) : 1;
  }

  /** Small images grow by whole device pixels, whatever is asked for. */
  possible(factor) {
    const { image, small } = this;
    const longest = Math.max(image?.naturalWidth ?? 1, image?.naturalHeight ?? 1);
    const least = Math.min(1, this.fitted());
    const within = Math.min(small ? MOST.small : MOST.large, LONGEST / longest, Math.max(least, factor));
    if (!small) return within;
    const dense = window.devicePixelRatio || 1;
    return Math.max(1, Math.floor(within * dense + 1e-6)) / dense;
  }

  // ---------- wheel and fingers ----------

  /** Where an event is, from the centre of the view. */
  point(event) {
    const box = this.view.getBoundingClientRect();
    return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
  }

  wheel(event) {
    if (!this.image) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    if (this.small) {
      this.turned = (this.turned ?? 0) + event.deltaY * lines;
      if (Math.abs(this.turned) < 50) return;
      const direction = -Math.sign(this.turned);
      this.turned = 0;
      return this.step(direction);
    }
    return this.to(this.factor() * Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), this.point(event));
  }

  /** One finger or the mouse moves the image, two zoom it. */
  pointer(type, event) {
    if (!onImage(event) || !this.image) return;
    if (type === 'pointerdown') {
      if (event.button !== 0) return;
      this.fingers.set(event.pointerId, this.point(event));
      this.view.setPointerCapture(event.pointerId);
    } else if (type === 'pointermove' && this.fingers.has(event.pointerId)) {
      const before = this.fingers.get(event.pointerId);
      const now = this.point(event);
      const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
      this.fingers.set(event.pointerId, now);
      if (!other) return this.pan(now.x - before.x, now.y - before.y);
      const [was, is] = [before, now].map((p) => Math.hypot(p.x - other.x, p.y - other.y));
      return this.to((this.factor() * is) / Math.max(1, was), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else if (type !== 'pointermove') this.fingers.delete(event.pointerId);
  }
}

/** What lies over the image minds its own events. */
const onImage = (event) => !event.target.closest('.stage-tools, .goal-note');

/** The factor an image is fitted with: whole device pixels for small ones. */
export function scale(room, longest) {
  if (longest > SMALL || room < 1) return Math.min(room, LARGEST);
  const dense = window.devicePixelRatio || 1;
  return Math.max(1, Math.floor(Math.min(room, CALM / longest) * dense) / dense);
}
