// Choosing images on the map: a line drawn around them, or by keyboard a circle that is moved and sized.

const STEP = 3; // pixels between two points of the line
const SMALLEST = 9; // square pixels; less was a click

export class Lasso {
  /**
   * @param plane where the points are
   * @param path the SVG path that shows it
   * @param chosen called with the points inside, and with null when there are none chosen any more; with none inside the
   *   line from before is there again
   */
  constructor(plane, path, chosen) {
    Object.assign(this, { plane, path, chosen, line: null, before: null, drawing: false, circle: null });
  }

  get any() {
    return Boolean(this.line);
  }

  // ---------- by hand ----------

  begin(px, py) {
    if (!this.circle) this.before = this.line;
    this.circle = null;
    this.drawing = true;
    this.last = [px, py];
    this.line = [this.plane.at(px, py)];
    this.paint();
  }

  draw(px, py) {
    if (!this.drawing || Math.hypot(px - this.last[0], py - this.last[1]) < STEP) return;
    this.last = [px, py];
    this.line.push(this.plane.at(px, py));
    this.paint();
  }

  end() {
    if (!this.drawing) return;
    this.drawing = false;
    if (this.line.length < 3 || area(this.line) * this.plane.scale ** 2 < SMALLEST) return this.clear();
    this.take();
  }

  // ---------- by keyboard ----------

  /** A circle around these pixels, to be moved and sized before it counts. */
  put(px, py) {
    if (!this.circle) this.before = this.line;
    this.circle = { px, py, radius: Math.min(this.plane.width, this.plane.height) / 8 };
    this.round();
  }

  move(dx, dy) {
    const { width, height } = this.plane;
    this.circle.px = Math.min(width, Math.max(0, this.circle.px + dx));
    this.circle.py = Math.min(height, Math.max(0, this.circle.py + dy));
    this.round();
  }

  size(factor) {
    this.circle.radius = Math.min(Math.max(this.plane.width, this.plane.height), Math.max(4, this.circle.radius * factor));
    this.round();
  }

  round() {
    const { px, py, radius } = this.circle;
    const turn = (k) => (2 * Math.PI * k) / 48;
    this.line = Array.from({ length: 48 }, (_, k) => this.plane.at(px + radius * Math.cos(turn(k)), py + radius * Math.sin(turn(k))));
    this.paint();
  }

  /** What is inside counts. */
  take() {
    const points = inside(this.line, this.plane);
    if (!points.length) this.line = this.before;
    this.circle = null;
    this.paint();
    this.chosen(points);
  }

  /** Other places: no line is true any more. */
  forget() {
    Object.assign(this, { line: null, before: null, drawing: false, circle: null });
    this.paint();
  }

  clear() {
    this.forget();
    this.chosen(null);
  }

  /** The line as the part in sight has it. */
  paint() {
    const points = (this.line ?? []).map(([x, y]) => this.plane.toPixels(x, y).map((value) => value.toFixed(1)).join(' '));
    this.path.setAttribute('d', points.length ? `M${points.join('L')}${this.drawing ? '' : 'Z'}` : '');
    this.path.classList.toggle('open', this.drawing || Boolean(this.circle));
  }
}

function area(line) {
  let sum = 0;
  line.forEach(([x, y], k) => {
    const [nextX, nextY] = line[(k + 1) % line.length];
    sum += x * nextY - nextX * y;
  });
  return Math.abs(sum) / 2;
}

/** The drawn points within a closed line, by the number of times a ray crosses it. */
export function inside(line, { xy, order }) {
  const [xs, ys] = [line.map(([x]) => x), line.map(([, y]) => y)];
  const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const found = [];
  for (const i of order) {
    const [x, y] = [xy[2 * i], xy[2 * i + 1]];
    if (x < left || x > right || y < bottom || y > top) continue;
    let odd = false;
    for (let k = 0, before = line.length - 1; k < line.length; before = k++) {
      if (ys[k] > y !== ys[before] > y && x < ((xs[before] - xs[k]) * (y - ys[k])) / (ys[before] - ys[k]) + xs[k]) odd = !odd;
    }
    if (odd) found.push(i);
  }
  return found;
}
