"""The map of 60,000 images in a real browser: how long until it is there, and a frame while it is dragged.

    make bench-map             (or: python -P tests/bench_map.py [images: 60000])

Images of 8x8 pixels with a version and a map of ten groups, a tenth of them labeled. A frame is timed from one to the
next while a pointer drags the map to and fro and the wheel zooms in and out; *draw* is the part of it that the page
itself takes. Pixel by pixel is how a page draws where there is no graphics card. WebGL is drawn by swiftshader here, on
the processor: the page takes it only where there is a card. Sixty frames a second are 16.7 ms.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from labeler import maps
from labeler.maps import Map
from labeler.published import home

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "map.md"
WAYS = {
    "pixel by pixel": ["--disable-3d-apis"],
    "WebGL (swiftshader)": ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
}
FRAMES = 200

DRAG = """async ([frames, wheel]) => {
  const canvas = document.querySelector('.map-points');
  const box = canvas.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const send = (type, dx, more = {}) => canvas.dispatchEvent(new PointerEvent(type, {
    pointerId: 1, pointerType: 'mouse', button: 0, clientX: x + dx, clientY: y + dx / 2, bubbles: true, ...more }));
  const capture = canvas.setPointerCapture;
  canvas.setPointerCapture = () => {}; // there is no such pointer
  const [times, draws] = [[], []];
  const { Plane } = await import('/labeler/ui/plane.js');
  const paint = Plane.prototype.redraw;
  Plane.prototype.redraw = function () {
    const start = performance.now();
    paint.call(this);
    draws.push(performance.now() - start);
  };
  let last = null;
  if (!wheel) send('pointerdown', 0);
  for (let k = 0; k < frames; k++) {
    const deltaY = (k % 40 < 20 ? -1 : 1) * 60;
    if (wheel) canvas.dispatchEvent(new WheelEvent('wheel', { deltaY, clientX: x, clientY: y, cancelable: true }));
    else send('pointermove', 150 * Math.sin(k / 12));
    const now = await new Promise(requestAnimationFrame);
    if (last !== null) times.push(now - last);
    last = now;
  }
  if (!wheel) send('pointerup', 0);
  canvas.setPointerCapture = capture;
  Plane.prototype.redraw = paint;
  return [times, draws];
}"""

INSIDE = """async () => {
  const { Plane } = await import('/labeler/ui/plane.js');
  const { inside } = await import('/labeler/ui/lasso.js');
  const n = Number(document.querySelector('.map').dataset.shown);
  const xy = Float32Array.from({ length: 2 * n }, () => 100 * Math.random());
  const line = Array.from({ length: 200 }, (_, k) => [50 + 30 * Math.cos(k / 32), 50 + 30 * Math.sin(k / 32)]);
  const start = performance.now();
  inside(line, { xy, order: Uint32Array.from({ length: n }, (_, i) => i) });
  return performance.now() - start;
}"""


def main(n: int) -> None:
    from pages import CHROMIUM, FLAGS, publish_version, served, small_project

    rng = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as scratch, small_project(Path(scratch) / "project", n=n) as p:
        p.loop("ben").answer_many({int(i): f"class {1 + i % 10}" for i in p.store.sample_ids()[: n // 10]})
        publish_version(p, 1, labels=n // 10)
        groups = rng.normal(size=(10, 2)) * 40
        places = groups[rng.integers(10, size=n)] + rng.normal(size=(n, 2)) * 6
        maps.write(home(p.folder, 1), Map(places.astype(np.float32), 1, 10, "t-SNE"))
        with served(p) as url, sync_playwright() as playwright:
            kept = [flag for flag in FLAGS if flag != "--disable-gpu"]
            for way, flags in WAYS.items():
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*kept, *flags])
                rows.append({"way": way, **measured(browser, url, n)})
                print(json.dumps(rows[-1]), flush=True)
                browser.close()
    REPORT.write_text(report(n, rows), encoding="utf-8")


def measured(browser: Browser, url: str, n: int) -> dict[str, Any]:
    """Milliseconds until all points are drawn, of the frames of a drag and of a zoom, of a lasso with 200 corners."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(url)
    page.fill("dialog.who input", "ann")
    page.keyboard.press("Enter")
    page.wait_for_selector(".stage-image img")
    page.evaluate("localStorage.setItem('labeler.map.webgl', 'even slow')")
    page.wait_for_timeout(2000)
    begun = time.perf_counter()
    page.get_by_role("tab", name="Map").click()
    page.wait_for_selector(f'.map[data-shown="{n}"]')
    opened = 1000 * (time.perf_counter() - begun)
    page.wait_for_timeout(1000)
    frames = {name: page.evaluate(DRAG, [FRAMES, wheel]) for name, wheel in (("drag", False), ("zoom", True))}
    found = {
        name: [round(float(np.percentile(times, q)), 1) for q in (10, 50, 95)] for name, (times, _) in frames.items()
    }
    found["draw"] = [round(float(np.percentile(frames["drag"][1], q)), 1) for q in (10, 50, 95)]
    drawn_by = page.get_attribute(".map-points", "data-drawn-by")
    return {"drawn_by": drawn_by, "opened": round(opened), **found, "lasso": round(page.evaluate(INSIDE), 1)}


def report(n: int, rows: list[dict[str, Any]]) -> str:
    lines = ["# The map in the browser", "", *(__doc__ or "").splitlines()[4:], ""]
    lines += [f"| {n:,} images, drawn by | there after, ms | drag, p10 / p50 / p95 ms | zoom | draw | lasso |"]
    lines += ["| :--- | ---: | ---: | ---: | ---: | ---: |"]
    for row in rows:
        pairs = (" / ".join(map(str, row[name])) for name in ("drag", "zoom", "draw"))
        lines.append(f"| {row['way']} | {row['opened']} | {' | '.join(pairs)} | {row['lasso']} |")
    return "\n".join([*lines, "", "`make bench-map`, two cores shared with other work.", ""])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000)
