// What pointers do on the map: drag, wheel, pinch, draw a line around images, look at one.

const CLICK = 4; // pixels that a press may move and still mean one place
const WHEEL = 0.0022; // of a zoom, for each pixel of the wheel

/** @param map {plane, lasso, lassoing, lookAt(px, py), look(null)} */
export function followPointers(canvas, map, signal) {
  const down = new Map(); // pointer id -> where it is
  let moved = 0;
  const at = (event) => [event.offsetX, event.offsetY];
  const on = (type, listener, options = {}) => canvas.addEventListener(type, listener, { signal, ...options });

  on('pointerdown', (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    moved = 0;
    if (down.size > 1) map.lasso.drawing && map.lasso.clear(); // two fingers zoom
    else if (map.lassoing || event.shiftKey) {
      map.look(null);
      map.lasso.begin(...at(event));
    }
  });

  on('pointermove', (event) => {
    const before = down.get(event.pointerId);
    if (!before) return event.pointerType === 'mouse' && map.lookAt(...at(event));
    const now = at(event);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    moved += Math.hypot(dx, dy);
    if (map.lasso.drawing) map.lasso.draw(...now);
    else if (down.size === 1) map.plane.pan(dx, dy);
    else pinch(map.plane, down, event.pointerId, now);
    down.set(event.pointerId, now);
  });

  const up = (event) => {
    if (!down.delete(event.pointerId)) return;
    if (map.lasso.drawing) map.lasso.end();
    else if (moved < CLICK && event.type === 'pointerup') map.lookAt(...at(event));
  };
  on('pointerup', up);
  on('pointercancel', up);
  on('pointerleave', (event) => event.pointerType === 'mouse' && !down.size && !map.point?.byKeys && map.look(null));
  on('dblclick', () => map.plane.fit());
  on('wheel', (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    map.plane.zoom(Math.exp(-WHEEL * Math.max(-400, Math.min(400, pixels))), ...at(event));
  }, { passive: false });
}

/** One of two fingers has moved: what was under both stays under both. */
function pinch(plane, down, id, now) {
  const other = [...down.entries()].find(([each]) => each !== id)?.[1];
  const before = down.get(id);
  if (!other) return;
  const distance = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
  plane.zoom(distance(now, other) / distance(before, other), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  plane.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
}
