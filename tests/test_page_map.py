"""The Map tab in a real browser: looked at, coloured, chosen from by hand and by keys, sent to grid and queue."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from pages import (
    CHROMIUM,
    FLAGS,
    IGNORE_UNCLOSED,
    Visitors,
    collect_unclosed,
    publish_version,
    served,
    small_project,
)
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, expect

from labeler import Project, maps
from labeler.maps import Map
from labeler.projection import TSNE
from labeler.published import home
from storage.tables import leases

pytestmark = IGNORE_UNCLOSED

WHITE = [255, 255, 255]
SIDE = 10  # images in a row and in a column of the map


def put_map(p: Project, version: int = 1, side: float = SIDE - 1, method: str = TSNE) -> None:
    """A square of images, the first one below on the left."""
    n = len(p.store.sample_ids())
    places = np.stack([np.arange(n) % SIDE, np.arange(n) // SIDE], 1).astype(np.float32)
    maps.write(home(p.folder, version), Map(places * side / (SIDE - 1), version, 10, method))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    """A hundred images, some of which measure; taken for class 3; some labels, by two people; and the address."""
    folder = tmp_path_factory.mktemp("map") / "project"
    with small_project(folder, n=SIDE * SIDE, measure_share=0.1) as p:
        pool = p.store.sample_ids("pool").tolist()
        p.loop("ben").answer_many(dict.fromkeys(pool[-6:], "class 4"))
        p.loop("eve").answer_many(dict.fromkeys(pool[-9:-6], "class 6"))
        p.loop("eve").skip(pool[-10])
        publish_version(p, 1, labels=9)
        put_map(p)
        with served(p) as address:
            yield p, address
    collect_unclosed()


@pytest.fixture
def project(shared: tuple[Project, str]) -> Project:
    return shared[0]


@pytest.fixture(autouse=True)
def _no_screen_before(project: Project) -> None:
    """Browsers that are gone hold their images for two minutes more: too few would be left."""
    with project.store._writing() as db:
        db.execute(sa.delete(leases))


@pytest.fixture
def url(shared: tuple[Project, str]) -> str:
    return shared[1]


def open_map(page: Page) -> None:
    page.get_by_role("tab", name="Map").click()
    expect(page.locator(".map")).to_have_attribute("data-shown", str(SIDE * SIDE))


def at(page: Page, sample_id: int) -> tuple[float, float]:
    """Where a sample is on the screen while all of the map is in sight."""
    box = page.locator(".map-points").bounding_box()
    assert box is not None
    scale = min(box["width"] - 56, box["height"] - 56) / (SIDE - 1)
    column, row = (sample_id - 1) % SIDE, (sample_id - 1) // SIDE
    middle = (SIDE - 1) / 2
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return x + (column - middle) * scale, y - (row - middle) * scale


def colour(page: Page, sample_id: int) -> list[int]:
    """Red, green and blue in the middle of a sample's point, as the screen shows it in light colours."""
    x, y = (round(one) for one in at(page, sample_id))
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    shot = Image.open(io.BytesIO(page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})))
    return list(np.asarray(shot.convert("RGB"))[0, 0])


def rgb(hex_colour: str) -> list[int]:
    return [int(hex_colour[i : i + 2], 16) for i in (1, 3, 5)]


def lasso(page: Page, first: int, last: int) -> None:
    """Shift and a drag around the rectangle of samples between two corners."""
    (left, bottom), (right, top) = at(page, first), at(page, last)
    edge = 12
    page.keyboard.down("Shift")
    page.mouse.move(left - edge, bottom + edge)
    page.mouse.down()
    for x, y in ((left - edge, top - edge), (right + edge, top - edge), (right + edge, bottom + edge)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")


def within(first: int, last: int) -> list[int]:
    columns = range((first - 1) % SIDE, (last - 1) % SIDE + 1)
    rows = range((first - 1) // SIDE, (last - 1) // SIDE + 1)
    return [row * SIDE + column + 1 for row in rows for column in columns]


def test_points_have_the_colours_of_the_legend_whose_entries_switch_them_off(project: Project, visit: Visitors) -> None:
    page = visit()
    open_map(page)
    expect(page.locator(".map-points")).to_have_attribute("data-drawn-by", "pixels")  # there is no graphics card
    labeled = [sample_id for sample_id, class_id in project.store.labels().items() if class_id == 4]
    of_class = next(one for one in project.store.classes() if one.id == 4)
    assert colour(page, labeled[0]) == pytest.approx(rgb(of_class.colour), abs=2)
    entry = page.locator('.map-entry[data-code="4"]')
    expect(entry).to_have_text("class 46")
    entry.click()
    expect(entry).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".map")).to_have_attribute("data-shown", str(SIDE * SIDE - 6))
    assert colour(page, labeled[0]) == WHITE
    page.get_by_role("button", name="Hide all").click()
    expect(page.locator(".map")).to_have_attribute("data-shown", "0")
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("button", name="Prediction").click()
    third = next(one for one in project.store.classes() if one.id == 3)
    is_open = project.store.open_ids("pool")[0]
    assert colour(page, int(is_open)) == pytest.approx(rgb(third.colour), abs=2)
    expect(page.locator(".map-legend")).to_contain_text("Nothing is told of these")
    page.get_by_role("button", name="Uncertainty").click()
    expect(page.locator(".map-ramp")).to_be_visible()
    page.get_by_role("button", name="Annotator").click()
    expect(page.locator(".map-legend")).to_contain_text("ben6")
    expect(page.locator(".map-legend")).to_contain_text("eve4")
    page.reload()
    open_map(page)
    expect(page.get_by_role("button", name="Annotator")).to_have_attribute("aria-pressed", "true")


def test_the_image_under_the_pointer_is_shown_and_of_measuring_ones_no_guess(project: Project, visit: Visitors) -> None:
    page = visit()
    open_map(page)
    card = page.locator(".map-card")
    is_open = int(project.store.open_ids("pool")[20])
    page.mouse.move(*at(page, is_open))
    expect(card).to_have_attribute("data-sample-id", str(is_open))
    expect(card).to_contain_text("Not labeled")
    expect(card).to_contain_text("The model: class 3 70")
    measured = int(project.store.sample_ids("measure")[0])
    page.mouse.move(*at(page, measured))
    expect(card).to_have_attribute("data-sample-id", str(measured))
    expect(card).to_contain_text("Measures accuracy")
    expect(card).not_to_contain_text("The model")
    labeled = min(project.store.labels())
    page.mouse.move(*at(page, labeled))
    expect(card).to_contain_text("class 6, by eve")


def test_by_keys_the_map_moves_and_an_image_leads_to_its_neighbours(visit: Visitors) -> None:
    page = visit()
    open_map(page)
    expect(page.locator(".map-points")).to_be_focused()
    ring = page.locator(".map-ring")
    card = page.locator(".map-card")
    page.keyboard.press("Enter")
    expect(card).to_be_visible()
    first = int(card.get_attribute("data-sample-id") or 0)
    assert first in (45, 46, 55, 56)
    for key, step in (("ArrowRight", 1), ("ArrowUp", SIDE), ("ArrowLeft", -1), ("ArrowDown", -SIDE)):
        page.keyboard.press(key)
        first += step
        expect(card).to_have_attribute("data-sample-id", str(first))
    before = ring.bounding_box()
    page.keyboard.press("+")
    page.wait_for_timeout(100)
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    for key in ("ArrowLeft", "ArrowDown", "-", "0"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(card).to_be_visible()
    after = ring.bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] == pytest.approx(before["width"], abs=1)  # 0 shows all again


def test_what_a_lasso_holds_goes_to_the_grid_and_labeled_ones_to_be_corrected(
    project: Project, visit: Visitors
) -> None:
    page = visit()
    open_map(page)
    lasso(page, 23, 45)
    chosen = page.locator(".map-chosen")
    expect(chosen.locator("h2")).to_have_text("9 images")
    ids = within(23, 45)
    expect(chosen).to_contain_text("9 open, 0 labeled")
    expect(chosen.get_by_role("button", name="Labeled ones of them")).to_be_disabled()
    wanted = set(ids) & set(project.store.open_ids("pool").tolist())  # without those on a screen
    assert len(wanted) > 2
    chosen.get_by_role("button", name="To the grid").click()
    expect(page.locator(".grid-chosen")).to_contain_text("9 from the map")
    expect(page.locator(".grid-tile")).to_have_count(len(wanted))
    shown = page.eval_on_selector_all(".grid-tile", "all => all.map((one) => Number(one.dataset.sampleId))")
    assert set(shown) == wanted
    open_map(page)
    expect(chosen.locator("h2")).to_have_text("9 images")
    lasso(page, 81, 100)
    expect(chosen.locator("h2")).to_have_text("20 images")
    expect(chosen).to_contain_text("9 labeled, 1 set aside")
    chosen.get_by_role("button", name="Labeled ones of them").click()
    expect(page.locator(".grid-chosen")).to_contain_text("20 from the map")
    expect(page.locator(".grid-tile")).to_have_count(6)
    page.get_by_role("button", name=re.compile("back to all open")).click()


def test_a_lasso_with_nothing_in_it_leaves_the_map_as_it_was(visit: Visitors) -> None:
    page = visit()
    open_map(page)
    hint, chosen, line = page.locator(".map-hint"), page.locator(".map-chosen"), page.locator(".map-outline path")
    before = colour(page, 1)

    def around_nothing() -> None:
        x, y = at(page, 12)
        page.keyboard.down("Shift")
        page.mouse.move(x + 15, y - 15)
        page.mouse.down()
        for right, up in ((25, 15), (25, 25), (15, 25)):
            page.mouse.move(x + right, y - up, steps=4)
        page.mouse.up()
        page.keyboard.up("Shift")

    around_nothing()
    expect(hint).to_have_text("Nothing in there")
    expect(page.locator(".map .lab-say")).to_have_text("Nothing in there")
    expect(chosen).to_be_hidden()
    expect(line).to_have_attribute("d", "")
    assert colour(page, 1) == before
    expect(hint).to_contain_text("Drag and wheel")
    lasso(page, 23, 45)
    expect(chosen.locator("h2")).to_have_text("9 images")
    drawn, faded = line.get_attribute("d"), colour(page, 1)
    around_nothing()
    expect(hint).to_have_text("Nothing in there")
    expect(chosen.locator("h2")).to_have_text("9 images")
    expect(line).to_have_attribute("d", drawn or "")
    assert colour(page, 1) == faded != before
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(hint).to_be_hidden()
    for _ in range(6):
        page.keyboard.press("+")
    for key in ("l", "l", *10 * ["-"], "Enter"):  # a circle too small to hold anything
        page.keyboard.press(key)
    expect(hint).to_have_text("Nothing in there")
    expect(hint).to_be_visible()
    expect(chosen).to_be_hidden()


def test_what_is_chosen_by_keys_goes_to_the_queue(project: Project, visit: Visitors) -> None:
    page = visit("kim")
    open_map(page)
    page.keyboard.press("Enter")
    page.keyboard.press("l")
    expect(page.get_by_role("button", name="Lasso")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("l")
    for _ in range(6):
        page.keyboard.press("-")
    page.keyboard.press("Enter")
    expect(page.locator(".map-chosen h2")).to_have_text("1 image")
    with page.expect_request("**/labeler/queue") as sent:
        page.get_by_role("button", name="Only these next").click()
    [middle] = json.loads(sent.value.post_data or "{}")["sample_ids"]
    expect(page.get_by_role("tab", name="Label")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".wishes-banner p")).to_have_text("Only a part of the map (1)")
    assert project.narrowings.of("kim").selected == 1
    assert middle in (45, 46, 55, 56)
    page.get_by_role("tab", name="Map").click()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator(".map-chosen")).to_be_hidden()


def test_new_labels_and_a_new_map_come_by_themselves(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "new", n=SIDE * SIDE) as p, served(p) as address:
        visit = Visitors(browser, address)
        page = visit()
        page.get_by_role("tab", name="Map").click()
        expect(page.locator(".map-empty")).to_contain_text("No trainer runs for this project")
        publish_version(p, 1, labels=2)
        put_map(p)
        expect(page.locator(".map")).to_have_attribute("data-shown", str(SIDE * SIDE), timeout=10_000)
        expect(page.locator(".map-empty")).to_be_hidden()
        p.loop("ben").answer(1, "class 5")
        expect(page.locator('.map-entry[data-code="5"]')).to_have_text("class 51", timeout=10_000)
        visit.close()


def test_a_map_of_another_kind_or_size_is_in_sight_when_it_takes_the_place_of_one(
    tmp_path: Path, browser: Browser
) -> None:
    with small_project(tmp_path / "new", n=SIDE * SIDE) as p, served(p) as address:
        publish_version(p, 1, labels=2)
        put_map(p, method="PCA")
        visit = Visitors(browser, address)
        page = visit()
        open_map(page)
        for version, side, zooms in ((2, 900.0, 3), (3, 30.0, 0)):  # looked at closely, or all of it in sight
            for _ in range(zooms):
                page.keyboard.press("+")
            publish_version(p, version, labels=2)
            put_map(p, version, side)
            expect(page.locator(".map-note")).to_contain_text(f"version {version}", timeout=15_000)
            page.mouse.move(*at(page, 45))
            expect(page.locator(".map-card")).to_be_visible()
        visit.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen_and_nothing_is_wrong_for_assistive_technology(visit: Visitors, scheme: str) -> None:
    page = visit.newcomer(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    expect(page.locator(".stage-image img")).to_be_visible()
    open_map(page)
    page.keyboard.press("Enter")
    lasso(page, 81, 100)
    expect(page.locator(".map-chosen")).to_be_visible()
    found = Axe().run(page, "#lab-map").response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []
    for width, height in ((1440, 900), (1024, 768), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        expect(page.locator(".map-points")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.documentElement.scrollHeight") <= height
        field = page.locator(".map-field").bounding_box()
        assert field is not None
        assert field["height"] > 0.35 * height


def test_webgl_draws_the_same_points_where_there_is_a_graphics_card(
    playwright: Playwright, url: str, project: Project
) -> None:
    flags = [flag for flag in FLAGS if flag != "--disable-gpu"]
    software = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*flags, *software])
    visit = Visitors(browser, url)
    visit.allowed = ("GPU stall due to ReadPixels",)  # of the screenshot
    page = visit()
    page.evaluate("localStorage.setItem('labeler.map.webgl', 'even slow')")
    open_map(page)
    expect(page.locator(".map-points")).to_have_attribute("data-drawn-by", "webgl")
    labeled = next(sample_id for sample_id, class_id in project.store.labels().items() if class_id == 4)
    of_class = next(one for one in project.store.classes() if one.id == 4)
    assert colour(page, labeled) == pytest.approx(rgb(of_class.colour), abs=2)
    visit.close()
    browser.close()
