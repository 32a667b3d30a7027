// Points in the plane, and the part of it that is in sight.

import { brush } from './brush.js';

const CLOSEST = 400; // times as near as all of them in sight
const EDGE = 28; // pixels around all of them
const LEAST = 1e-6;

export class Plane {
  /** @param moved called after the part in sight has changed */
  constructor(canvas, moved) {
    Object.assign(this, { canvas, moved, x: 0, y: 0, scale: 1, fitted: 1, n: 0, order: new Uint32Array(), due: 0 });
    this.box = { left: 0, right: 1, top: 1, bottom: 0 };
    this.brush = brush(canvas);
    canvas.dataset.drawnBy = this.brush.name;
    canvas.addEventListener('webglcontextlost', (event) => event.preventDefault());
    canvas.addEventListener('webglcontextrestored', () => {
      this.brush = brush(canvas);
      if (this.xy) this.brush.places(this.xy);
      if (this.colours) this.paint(this.colours, this.order);
    });
  }

  /** @param xy Float32Array of x, y, x, y ...; @param here the points that have a place; @param other whether the places before meant something else */
  place(xy, here, other) {
    const whole = !this.n || other || this.isWhole();
    Object.assign(this, { xy, n: here.length });
    const [xs, ys] = [0, 1].map((axis) => ends(xy, here, axis));
    this.box = { left: xs[0], right: xs[1], bottom: ys[0], top: ys[1] };
    this.brush.places(xy);
    if (whole) this.fit();
    else this.draw();
  }

  /** @param colours Uint8Array of red, green, blue, alpha; @param order the points to be drawn, the last one on top */
  paint(colours, order) {
    Object.assign(this, { colours, order });
    this.brush.colours(colours);
    this.brush.order(order);
    this.draw();
  }

  // ---------- the part in sight ----------

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height || (width === this.width && height === this.height)) return;
    const whole = !this.width || this.isWhole();
    Object.assign(this, { width, height });
    const ratio = this.brush.sharp ? Math.min(2, window.devicePixelRatio || 1) : 1;
    Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    if (whole) this.fit();
    else this.draw();
  }

  isWhole() {
    const { x, y, scale } = this.whole();
    return this.x === x && this.y === y && this.scale === scale;
  }

  whole() {
    const { left, right, top, bottom } = this.box;
    const scale = Math.min((this.width - 2 * EDGE) / Math.max(LEAST, right - left), (this.height - 2 * EDGE) / Math.max(LEAST, top - bottom));
    return { x: (left + right) / 2, y: (top + bottom) / 2, scale: Math.max(scale, LEAST) };
  }

  fit() {
    if (!this.width) return;
    Object.assign(this, this.whole());
    this.draw();
  }

  /** Zooms so that the place under these pixels stays under them; without any, the middle. */
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const whole = this.whole().scale;
    const scale = Math.min(CLOSEST * whole, Math.max(whole / 4, this.scale * factor));
    const [x, y] = this.at(px, py);
    this.x = x - (px - this.width / 2) / scale;
    this.y = y + (py - this.height / 2) / scale;
    this.scale = scale;
    this.draw();
  }

  /** Moves what is in sight by pixels, as a hand does that takes hold of it. */
  pan(dx, dy) {
    const { left, right, top, bottom } = this.box;
    this.x = Math.min(right, Math.max(left, this.x - dx / this.scale));
    this.y = Math.min(top, Math.max(bottom, this.y + dy / this.scale));
    this.draw();
  }

  /** The place under these pixels. */
  at(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y - (py - this.height / 2) / this.scale];
  }

  /** The pixels of a place. */
  toPixels(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (this.y - y) * this.scale + this.height / 2];
  }

  pixelsOf(i) {
    return this.toPixels(this.xy[2 * i], this.xy[2 * i + 1]);
  }

  /** Pixels from a point's middle to its edge: more where there are few points, or they are looked at closely. */
  radius() {
    const each = Math.sqrt((this.width * this.height) / Math.max(1, this.n));
    const least = Math.min(5, Math.max(1.3, 0.3 * each));
    return Math.min(9, least * Math.sqrt(Math.max(1, this.scale / this.whole().scale)));
  }

  // ---------- points ----------

  /** The drawn point nearest to these pixels and no further than `reach`, or null. Of equals the one on top. */
  nearest(px, py, reach = Infinity) {
    const [x, y] = this.at(px, py);
    let best = null;
    let least = (reach / this.scale) ** 2;
    for (const i of this.order) {
      const distance = (this.xy[2 * i] - x) ** 2 + (this.xy[2 * i + 1] - y) ** 2;
      if (distance <= least) [best, least] = [i, distance];
    }
    return best;
  }

  /** The drawn point nearest to point i in a direction of the screen (dx, dy: -1, 0 or 1), or null. */
  beside(i, dx, dy) {
    const [x, y] = [this.xy[2 * i], this.xy[2 * i + 1]];
    let best = null;
    let least = Infinity;
    for (const j of this.order) {
      const [right, up] = [this.xy[2 * j] - x, this.xy[2 * j + 1] - y];
      const along = dx * right - dy * up;
      const across = Math.abs(dx ? up : right);
      if (j === i || along <= 0 || across > along) continue;
      const distance = right * right + up * up;
      if (distance < least) [best, least] = [j, distance];
    }
    return best;
  }

  draw() {
    if (this.due || !this.width) return;
    this.due = requestAnimationFrame(() => this.redraw());
  }

  redraw() {
    this.due = 0;
    this.brush.draw(this);
    this.moved();
  }
}

function ends(xy, here, axis) {
  let [least, most] = [Infinity, -Infinity];
  for (const i of here) {
    const value = xy[2 * i + axis];
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return least <= most ? [least, most] : [0, 1];
}
