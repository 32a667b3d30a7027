"""From a key to the next image in a real browser, beside a page of plain Gradio components; ten labels a second.

    make bench-page            (or: python -P tests/bench_page.py [presses: 60])

Small images are 6,000 of Fashion-MNIST (28x28), photographs 40 JPEG files of 4000x3000. Each case runs on a server of
its own, once without and once with its trainer, which trains meanwhile. The plain page is a gr.Image and a gr.Button
for each class; its handler records the label through the same loop and returns the next image. A press is timed from
the key event to the frame in which another image is on screen, decoded. Between two presses the hand rests for 0.3 s,
a second with photographs.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from labeler import Project
from labeler.demo import FASHION_CLASSES, FASHION_POOL

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "page.md"
PHOTOS, MINUTE = 40, 600
OURS, PLAIN = ".stage-image img", "#image img"

PRESS = """async ([selector, keys, rest]) => {
  const frame = () => new Promise(requestAnimationFrame);
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const times = [];
  for (const key of keys) {
    await pause(rest);
    const before = document.querySelector(selector)?.src;
    const start = performance.now();
    document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    for (;;) {
      await frame();
      const image = document.querySelector(selector);
      if (image && image.src !== before && image.complete && image.naturalWidth) break;
    }
    await document.querySelector(selector).decode().catch(() => {});
    await frame();
    times.push(performance.now() - start);
  }
  return times;
}"""

STEADY = """async ([selector, n, gap]) => {
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  let [last, waits, waited, longest, next] = [null, 0, 0, 0, performance.now()];
  const start = next;
  for (let i = 0; i < n; i++) {
    await pause(Math.max(0, next - performance.now()));
    const due = performance.now();
    const ready = () => document.querySelector(selector)?.src && document.querySelector(selector).src !== last;
    if (!ready()) {
      waits += 1;
      while (!ready()) await pause(5);
      waited += performance.now() - due;
      longest = Math.max(longest, performance.now() - due);
    }
    last = document.querySelector(selector).src;
    const key = String((7 * i) % 10);
    document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    next = Math.max(next + gap, performance.now() + 50); // no hand catches up with two keys at once
  }
  return { waits, waited, longest, seconds: (performance.now() - start) / 1000 };
}"""


def main(presses: int) -> None:
    from pages import CHROMIUM, FLAGS

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        sources = {"28x28": FASHION_POOL, "12 megapixels": photographs(Path(scratch) / "photos")}
        for images, source in sources.items():
            few, rest = (presses, 300) if source == FASHION_POOL else (min(presses, PHOTOS // 2 - 4), 1000)
            for trainer in (False, True):
                folder = Path(scratch) / f"{images}-{trainer}"
                with Project.create(folder, FASHION_CLASSES) as project:
                    project.import_(source, measure_share=0)
                with served(folder, trainer) as url:
                    page = opened(browser, url)
                    ours = page.evaluate(PRESS, [OURS, keys(few), rest])
                    plain = on_plain_page(browser, folder, few, rest)
                    steady = page.evaluate(STEADY, [OURS, MINUTE, 100]) if source == FASHION_POOL else None
                    page.context.close()
                rows.append(row(images, trainer, ours, plain, steady))
                print(json.dumps(rows[-1]), flush=True)
        browser.close()
    REPORT.write_text(report(rows), encoding="utf-8")


def photographs(folder: Path) -> Path:
    """Coarse noise, so that each is a JPEG file of a photograph's size in pixels and about its size in bytes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(PHOTOS):
        coarse = Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8))
        coarse.resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / f"{i:02}.jpg", quality=90)
    return folder


def keys(n: int) -> list[str]:
    return [str((3 * i) % 10) for i in range(n)]


@contextmanager
def served(folder: Path, trainer: bool) -> Iterator[str]:
    options = ["--no-browser", "--port", "0", *([] if trainer else ["--no-trainer"])]
    command = [sys.executable, "-P", "-m", "labeler", "serve", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield next(word for word in server.stdout.readline().split() if word.startswith("http://"))
        finally:
            server.terminate()


def opened(browser: Browser, url: str) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(url)
    page.fill("dialog.who input", "ann")
    page.keyboard.press("Enter")
    page.wait_for_selector(OURS)
    page.wait_for_timeout(5000)  # a trainer has begun by then
    return page


def on_plain_page(browser: Browser, folder: Path, presses: int, rest: int) -> list[float]:
    """The same presses on a page of plain components, served by a process of its own beside the other server."""
    command = [sys.executable, "-P", __file__, "--plain", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = next(line.split()[-1] for line in server.stdout if "http://" in line)
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.goto(url)
            page.wait_for_selector(PLAIN)
            page.wait_for_timeout(2000)
            times: list[float] = page.evaluate(PRESS, [PLAIN, keys(presses), rest])
            page.context.close()
            return times
        finally:
            server.terminate()


HOTKEYS = """() => document.addEventListener('keydown', (event) => {
  document.querySelectorAll('.answer')[Number(event.key)]?.click();
})"""


def plain_page(folder: Path) -> None:
    """What one gets with the components as they come: an image, a button for each class, one handler."""
    import gradio as gr

    from storage.images import read_image

    with Project.open(folder) as project:
        loop = project.loop("plain")

        def shown() -> np.ndarray | str:
            question = loop.ask()
            assert question is not None
            sample = project.store.sample(question.sample_id)
            return read_image(folder, sample) if sample.row is not None else str(folder / sample.file)

        def answer(k: int) -> np.ndarray | str:
            question = loop.ask()
            assert question is not None
            loop.answer(question.sample_id, k)
            return shown()

        with gr.Blocks() as page:
            image = gr.Image(shown, elem_id="image", format="png", height=600)
            for k, name in enumerate(FASHION_CLASSES):
                gr.Button(name, elem_classes="answer").click(lambda k=k: answer(k), outputs=image, queue=False)
            page.load(None, js=HOTKEYS)
        page.launch(quiet=False, allowed_paths=[str(folder)], server_name="127.0.0.1")


def row(
    images: str, trainer: bool, ours: list[float], plain: list[float], steady: dict[str, float] | None
) -> dict[str, Any]:
    at = [(np.percentile(times, 50), np.percentile(times, 95)) for times in (ours, plain)]
    return {
        "images": images,
        "trainer": "training" if trainer else "none",
        "presses": len(ours),
        "ours": [round(t) for t in at[0]],
        "plain": [round(t) for t in at[1]],
        "ratio": [round(b / a, 1) for a, b in zip(*at, strict=True)],
        "steady": steady,
    }


def report(rows: list[dict[str, Any]]) -> str:
    lines = ["# From a key to the next image", "", *(__doc__ or "").splitlines()[4:], ""]
    lines += ["| images | trainer | presses | ours, p50 / p95 ms | plain components, p50 / p95 ms | times as long |"]
    lines += ["| :--- | :--- | ---: | ---: | ---: | ---: |"]
    for r in rows:
        pairs = (" / ".join(map(str, r[name])) for name in ("ours", "plain", "ratio"))
        lines.append(f"| {r['images']} | {r['trainer']} | {r['presses']} | {' | '.join(pairs)} |")
    lines += [
        "",
        f"Ten labels a second, {MINUTE} in all: how often the next image was not there when a key was due.",
        "",
    ]
    lines += ["| images | trainer | seconds | the hand waited | in all, ms | longest, ms |"]
    lines += ["| :--- | :--- | ---: | ---: | ---: | ---: |"]
    for r in rows:
        if s := r["steady"]:
            figures = (f"{s['seconds']:.1f}", f"{s['waits']:.0f}", f"{s['waited']:.0f}", f"{s['longest']:.0f}")
            lines.append(f"| {r['images']} | {r['trainer']} | {' | '.join(figures)} |")
    return "\n".join([*lines, "", "`make bench-page`, two cores shared with other work.", ""])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plain"]:
        plain_page(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
