"""What the page shows of the model beside the classes: this very image drawn as each of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import (
    AWAY,
    IGNORE_UNCLOSED,
    IMAGE,
    Visitors,
    all_saved,
    on_screen,
    press,
    publish_version,
    served,
    small_project,
)
from playwright.sync_api import Browser, Page, Route, expect
from test_sketches import model_of

from labeler import Project
from storage.images import read_image

pytestmark = IGNORE_UNCLOSED
SKETCH = ".class .sketch:visible"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with small_project(tmp_path_factory.mktemp("hints") / "project", n=60, measure_share=0.1) as p:
        p.store.set_setting("measure_share", 0.0)  # those that measure come at the end
        publish_version(p, 1, model=model_of(p))
        yield p


@pytest.fixture(scope="module")
def url(project: Project) -> Iterator[str]:
    with served(project) as address:
        yield address


PIXELS = """(canvas) => [canvas.width, canvas.height,
  ...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter((_, i) => i % 4 === 0)]"""


def drawn(page: Page, class_id: int) -> list[int]:
    return page.locator(f".class[data-class-id='{class_id}'] .sketch").evaluate(PIXELS)


def expected(project: Project, sample_id: int, class_id: int) -> list[int]:
    image = model_of(project).as_class(read_image(project.folder, project.store.sample(sample_id))[None], class_id - 1)
    return [8, 8, *image.flatten().tolist()]


def test_with_hints_each_class_shows_this_image_drawn_as_it(project: Project, visit: Visitors) -> None:
    visit.allowed = ("willReadFrequently",)  # the browser's advice on how this test reads the pixels
    page = visit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/sketch/" in request.url else None)
    press(page, "1")
    page.wait_for_timeout(300)
    assert asked == [], "nothing is drawn while hints are hidden"

    page.keyboard.press("m")
    expect(page.locator(SKETCH)).to_have_count(10, timeout=30_000)
    assert asked
    for class_id in (3, 5, 1):
        assert drawn(page, class_id) == pytest.approx(expected(project, on_screen(page), class_id), abs=1)
    canvas = page.locator(".class[data-class-id='3'] .sketch")
    assert canvas.get_attribute("aria-label") == "This image, drawn as class 3"
    assert canvas.evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    label = page.locator(".class[data-class-id='3']").get_attribute("aria-label")
    assert label == "class 3, 0 labeled, 70% likely, with a drawing of this image as it"

    for _ in range(3):  # never those of another image
        press(page, "2")
        expect(page.locator(SKETCH)).to_have_count(10)
        assert drawn(page, 3) == pytest.approx(expected(project, on_screen(page), 3), abs=1)
    page.keyboard.press("m")
    expect(page.locator(SKETCH)).to_have_count(0)
    page.keyboard.press("Enter")  # a look at the guess shows them, too
    expect(page.locator(SKETCH)).to_have_count(10)
    all_saved(page)


def test_a_drawing_that_comes_late_holds_up_nothing_and_is_shown_for_its_image_only(
    project: Project, visit: Visitors
) -> None:
    visit.allowed = AWAY
    page = visit("bob")
    late: list[Route] = []
    page.route("**/labeler/sketch/**", lambda route: late.append(route))
    page.keyboard.press("m")
    ids = [press(page, "4") for _ in range(6)]
    all_saved(page)
    assert len(set(ids)) == 6
    assert {project.store.labels()[sample_id] for sample_id in ids} == {4}
    expect(page.locator(SKETCH)).to_have_count(0)
    assert page.locator(".class .percent").all_inner_texts()[2] == "70%"
    assert len(late) == 1, "one request at a time"
    late[0].abort()
    page.wait_for_timeout(100)
    for route in late[1:]:
        route.abort()


def test_an_image_that_measures_shows_no_drawings(project: Project, visit: Visitors) -> None:
    page = visit("cem")
    page.keyboard.press("m")
    for _ in range(60):
        if project.store.sample(on_screen(page)).split == "measure":
            break
        press(page, "6")
        expect(page.locator(IMAGE)).to_be_visible()
    assert project.store.sample(on_screen(page)).split == "measure"
    page.wait_for_timeout(500)
    expect(page.locator(SKETCH)).to_have_count(0)
    assert "".join(page.locator(".class .percent").all_inner_texts()) == ""


def test_of_forty_classes_only_those_that_are_possible_are_drawn(tmp_path: Path, browser: Browser) -> None:
    names = [f"class {i}" for i in range(40)]
    with small_project(tmp_path / "project", n=12, classes=names) as project, served(project) as address:
        publish_version(project, 1, model=model_of(project))
        visit = Visitors(browser, address)
        page = visit()
        page.keyboard.press("m")
        expect(page.locator(SKETCH)).to_have_count(2, timeout=30_000)
        visit.close()
