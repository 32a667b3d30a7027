"""The pictures of README and docs, from a real run: the embedded garments labeled by keyboard while the model learns.

    make screenshots           (or: python -P tests/screenshots.py FOLDER_OF_IDX_FILES [labels: 120])

The folder is that of Fashion-MNIST: the embedded pool has no labels, so the true ones are looked up there, image by
image. Pictures go to docs/.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from bench_page import served
from pages import CHROMIUM, FLAGS, IMAGE, KEYS, on_screen
from playwright.sync_api import Browser, Page, sync_playwright

from labeler import Project, maps
from labeler.demo import prepare
from labeler.live import until
from labeler.projection import TSNE
from storage.importers import open_source

DOCS = Path(__file__).parent.parent / "docs"
REST = 700  # milliseconds between two labels: a person's pace, in which versions come out
SETTLE = 4000  # until a tab has fetched what it shows
PICTURES = {  # file -> tab, colours, size
    "screenshot.png": ("Label", "light", 1440, 900),
    "map.png": ("Map", "dark", 1440, 900),
    "imagine.png": ("Imagine", "light", 1440, 900),
    "learning.png": ("Learning", "light", 1440, 900),
    "classes.png": ("Classes", "light", 1440, 900),
}


def main(source: Path, labels: int = 120) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "fashion"
        prepare(folder, "fashion")
        with Project.open(folder) as project, served(folder, trainer=True) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            until(lambda: project.store.newest_version() is not None, 1800, "no version after the warm-up")
            page = opened(browser, url)
            classes = truth(project, source)
            for _ in range(labels):
                page.keyboard.press(KEYS[classes[on_screen(page)]])
                page.wait_for_timeout(REST)
            newest = project.store.last_event_id()
            until(lambda: project.store.newest_version().metrics["learned_event_id"] >= newest, 300, "not learned")
            until(lambda: method(project) == TSNE, 300, "no map")  # it is begun once nobody labels
            for name, (tab, scheme, width, height) in PICTURES.items():
                page = opened(browser, url, scheme, width, height)
                look(page, tab)
                page.screenshot(path=DOCS / name)
                print(DOCS / name, flush=True)
                page.context.close()
            browser.close()


def method(project: Project) -> str | None:
    """How the map of the newest version was made."""
    published = project.published()
    found = published and maps.read(published.folder, len(published.sample_ids))
    return found.method if found else None


def opened(browser: Browser, url: str, scheme: str = "light", width: int = 1440, height: int = 900) -> Page:
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.goto(url)
    page.fill("dialog.who input", "Ada")
    page.keyboard.press("Enter")
    page.wait_for_selector(IMAGE)
    return page


def look(page: Page, tab: str) -> None:
    """Open a tab as a person would, and wait until its pictures are there."""
    if tab == "Label":
        page.keyboard.press("m")
        page.wait_for_selector(".class .sketch:not([hidden])", timeout=60_000)
    else:
        page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_timeout(SETTLE)


def truth(project: Project, source: Path) -> dict[int, int]:
    """Sample id -> the class that Fashion-MNIST gives its image, by the image itself."""
    images, names = open_source(source).load_arrays("train")
    assert names is not None
    of_image = {np.asarray(image).tobytes(): int(name) for image, name in zip(images, names, strict=True)}
    pool = project.images()
    known = zip(pool.sample_ids.tolist(), pool.array, strict=True)
    return {sample_id: of_image[x.tobytes()] for sample_id, x in known if x.tobytes() in of_image}


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
