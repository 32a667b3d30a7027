// Draws points: by WebGL, or pixel by pixel where there is no graphics card. There WebGL would be the slower one by far.

const FEW = 4000; // points that are stamped one by one
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i; // WebGL without a card is much slower than pixels

const VERTEX = `#version 300 es
in vec2 place;
in vec4 colour;
uniform vec2 middle, scale;
uniform float size;
out vec4 c;
void main() {
  gl_Position = vec4((place - middle) * scale, 0.0, 1.0);
  gl_PointSize = size;
  c = colour;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 c;
uniform float size;
out vec4 o;
void main() {
  float inside = clamp(0.5 * size * (1.0 - length(2.0 * gl_PointCoord - 1.0)) + 0.5, 0.0, 1.0);
  o = vec4(c.rgb, 1.0) * c.a * inside;
}`;

/** What draws on this canvas: `places`, `colours` and `order` say what, `draw` draws the part in sight. */
export function brush(canvas) {
  const wanted = hasCard() || localStorage.getItem('labeler.map.webgl') === 'even slow';
  const gl = wanted && canvas.getContext('webgl2', { antialias: false });
  return gl ? new GpuBrush(gl) : new PixelBrush(canvas.getContext('2d'));
}

/** Whether WebGL is there and drawn by a graphics card, asked of a canvas that is thrown away. */
function hasCard() {
  const gl = document.createElement('canvas').getContext('webgl2');
  if (!gl) return false;
  const name = gl.getParameter(gl.getExtension('WEBGL_debug_renderer_info')?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER);
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return !SOFTWARE.test(name);
}

class GpuBrush {
  constructor(gl) {
    Object.assign(this, { gl, n: 0, name: 'webgl', sharp: true });
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    this.where = Object.fromEntries(['middle', 'scale', 'size'].map((name) => [name, gl.getUniformLocation(program, name)]));
    this.buffers = [this.attribute(program, 'place', 2, gl.FLOAT, false), this.attribute(program, 'colour', 4, gl.UNSIGNED_BYTE, true)];
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  attribute(program, name, size, type, normalised) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    const place = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, type, normalised, 0, 0);
    return buffer;
  }

  places(xy) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[0]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, xy, this.gl.STATIC_DRAW);
    this.n = 0; // the colours are of other points
  }

  colours(rgba) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[1]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, rgba, this.gl.STATIC_DRAW);
  }

  order(indices) {
    this.gl.bufferData(this.gl.ELEMENT_ARRAY_BUFFER, indices, this.gl.STATIC_DRAW);
    this.n = indices.length;
  }

  draw(plane) {
    const { gl, where } = this;
    const { width, height } = gl.canvas;
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(where.middle, plane.x, plane.y);
    gl.uniform2f(where.scale, (2 * plane.scale) / plane.width, (2 * plane.scale) / plane.height);
    gl.uniform1f(where.size, (2 * plane.radius() * width) / plane.width);
    gl.drawElements(gl.POINTS, this.n, gl.UNSIGNED_INT, 0);
  }
}

/** Writes discs into an image: no smooth edges, yet 60,000 points within a frame. A few points are stamped, smooth. */
class PixelBrush {
  constructor(context) {
    Object.assign(this, { context, name: 'pixels', sharp: false, indices: new Uint32Array() });
  }

  places(xy) {
    this.xy = xy;
    this.indices = new Uint32Array();
  }

  colours(rgba) {
    this.rgba = new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4);
  }

  order(indices) {
    this.indices = indices;
  }

  draw(plane) {
    const { width, height } = this.context.canvas;
    if (this.indices.length <= FEW) return this.stamp(plane, width, height);
    if (this.image?.width !== width || this.image.height !== height) this.image = this.context.createImageData(width, height);
    const pixels = new Uint32Array(this.image.data.buffer).fill(0);
    const disc = discOf(plane.radius(), width);
    const reach = Math.ceil(plane.radius());
    const [left, top] = [width / 2 - plane.x * plane.scale, height / 2 + plane.y * plane.scale];
    const { indices, xy, rgba } = this;
    const { scale } = plane;
    for (let k = 0; k < indices.length; k++) {
      const i = indices[k];
      const x = Math.floor(left + xy[2 * i] * scale + 0.5);
      const y = Math.floor(top - xy[2 * i + 1] * scale + 0.5);
      if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
      const at = y * width + x;
      const colour = rgba[i];
      for (let d = 0; d < disc.length; d++) pixels[at + disc[d]] = colour;
    }
    this.context.putImageData(this.image, 0, 0);
  }

  stamp(plane, width, height) {
    const { context, indices, xy, rgba } = this;
    const stamps = new Map();
    const radius = plane.radius();
    context.clearRect(0, 0, width, height);
    for (const i of indices) {
      if (!stamps.has(rgba[i])) stamps.set(rgba[i], stampOf(rgba[i], radius));
      const stamp = stamps.get(rgba[i]);
      const [x, y] = plane.toPixels(xy[2 * i], xy[2 * i + 1]);
      context.drawImage(stamp, x - stamp.width / 2, y - stamp.height / 2);
    }
  }
}

/** A smooth disc of one colour, on a canvas of its own. */
function stampOf(rgba, radius) {
  const side = Math.ceil(2 * radius + 2);
  const made = Object.assign(document.createElement('canvas'), { width: side, height: side });
  const context = made.getContext('2d');
  const [red, green, blue, alpha] = new Uint8Array(Uint32Array.of(rgba).buffer);
  context.fillStyle = `rgb(${red} ${green} ${blue} / ${alpha / 255})`;
  context.arc(side / 2, side / 2, radius, 0, 2 * Math.PI);
  context.fill();
  return made;
}

/** Offsets in an image so wide of the pixels of a disc. */
function discOf(radius, width) {
  const reach = Math.ceil(radius);
  const offsets = [];
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) if (dx * dx + dy * dy < radius * radius) offsets.push(dy * width + dx);
  }
  return Int32Array.from(offsets);
}
