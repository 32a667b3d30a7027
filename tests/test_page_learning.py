"""The Learning tab in a browser: scores class by class, confusion by keyboard, pace, what answers changed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pages import IGNORE_UNCLOSED, IMAGE, Visitors, all_saved, press, served, small_project
from playwright.sync_api import Browser, Page, expect
from test_loop import publish_version

from labeler import Project
from labeler.control import change
from labeler.published import home, publish_ranking

pytestmark = IGNORE_UNCLOSED
NAMES = ["cat", "dog", "owl"]
LOSSES = {"log_px": -90.0, "kl_z": 8.0, "supervised": 1.2}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """120 images, 60 of them measure. 12 cats and 3 dogs measure, 6 cats and 2 dogs were learned from.

    The model takes every third cat for a dog, learned from or not.
    """
    folder = tmp_path_factory.mktemp("learning") / "project"
    with small_project(folder, n=120, side=28, classes=NAMES, measure_share=0.5) as p:
        measure, pool = (p.store.sample_ids(split).tolist() for split in ("measure", "pool"))
        cats, dogs = measure[:12] + pool[:6], measure[12:15] + pool[6:8]
        change(p.store, {"measure_share": 0})
        loop = p.loop("ann", "tab")
        for i in cats:
            loop.answer(i, "cat", ms=1500)
        for i in dogs:
            loop.answer(i, "dog", ms=1500)
        probs = {i: [0.9, 0.05, 0.05] if n % 3 else [0.1, 0.8, 0.1] for n, i in enumerate(cats)}
        probs |= {i: [0.1, 0.8, 0.1] for i in dogs}
        for version in (1, 2):
            changes = [[0, 10 * version, 3, 40 * version, 120, 25, 7, 1.0]]
            told = {"losses": LOSSES, "changes": changes, "measured_accuracy": 0.73, "measured_n": 15}
            publish_version(p, version, pool, labels=8, probs=probs, metrics=told)
        yield p


@pytest.fixture(scope="module")
def url(project: Project) -> Iterator[str]:
    with served(project) as address:
        yield address


def learning(page: Page) -> Page:
    page.get_by_role("tab", name="Learning").click()
    expect(page.locator(".scores-table tbody tr")).to_have_count(3)
    return page


def test_scores_stand_on_measuring_images_and_a_cell_opens_the_labels_that_were_learned_from(
    project: Project, visit: Visitors
) -> None:
    page = learning(visit("bea"))
    expect(page.locator(".scores header p")).to_contain_text("73.3% of 15 measuring images are right now")
    cat, dog, owl = (page.locator(".scores-table tbody tr").nth(i) for i in range(3))
    expect(cat.locator("td")).to_have_text(["12", "100% 68–100", "67% 39–86", "80% 56–93"])
    expect(dog).to_contain_text("too few: 3 images of it")
    expect(owl).to_contain_text("none of it measured yet")
    matrix = [text.split() for text in page.locator(".confusion tbody tr").all_inner_texts()]
    assert matrix == [["cat", "8", "4", "·"], ["dog", "·", "3", "·"], ["owl", "·", "·", "·"]]

    expect(page.locator(".pace header p")).to_contain_text("23 labels in the newest sitting")
    expect(page.locator(".people tbody tr").first).to_contain_text("1.5 s")
    expect(page.locator(".multiple h3")).to_have_text(["Reconstruction", "KL of z", "Classification"])
    expect(page.locator(".changes .bars-plot > i")).to_have_count(2)
    told = page.locator(".changes .bars-plot").get_attribute("aria-label") or ""
    assert "80 of 120 predictions flipped with 3 answers together and 25 gradient steps" in told

    for width in (1024, 390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("scrollTo(0, 900)")
    tops = [page.locator(place).bounding_box() for place in ("#lab-header .top", "#lab-tabs [role=tablist]")]
    assert [box and box["y"] for box in tops] == [0, 0]  # the tabs stand in the header, wherever the page is scrolled

    cells = page.locator(".confusion button")
    expect(cells.and_(page.locator("[tabindex='0']"))).to_have_count(1)
    cells.first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(":focus")).to_have_attribute("aria-label", "cat, taken for dog: 4 of 12 (33%)")
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".confusion-say")).to_have_text("dog, taken for owl: 0 of 3 (0%)")
    page.keyboard.press("Enter")
    expect(page.locator(".confusion-say")).to_contain_text("No label that it learned from is among dog")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator(".grid-tile").first).to_be_visible()
    shown = page.eval_on_selector_all(".grid-tile", "all => all.map((one) => Number(one.dataset.sampleId))")
    pool = project.store.sample_ids("pool").tolist()
    assert sorted(shown) == [pool[0], pool[3]]
    expect(page.locator("#lab-grid")).to_contain_text("it has learned from them")


def test_a_cell_of_gold_images_shows_them_and_opens_what_was_learned_from(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "project", n=20, side=28, classes=NAMES) as p:
        images = np.random.default_rng(1).integers(0, 256, (6, 28, 28), dtype=np.uint8)
        np.savez(tmp_path / "gold.npz", x=images, y=np.array(["cat", "cat", "dog"] * 2))
        p.import_(tmp_path / "gold.npz", gold=True)
        pool = p.store.sample_ids("pool").tolist()
        p.loop("ann", "tab").answer(pool[0], "cat")
        gold = p.store.gold()
        cats = [i for i, c in gold.items() if c == 1]
        publish_version(p, 1, pool[1:], probs={i: [0.1, 0.8, 0.1] for i in (pool[0], *gold)})
        with served(p) as address:
            visitors = Visitors(browser, address)
            page = learning(visitors("bea"))
            cell = page.get_by_label("cat, taken for dog: 4 of 4 (100%)")
            cell.focus()
            page.keyboard.press("Enter")
            expect(page.locator(".confusion-say")).to_have_text("Gold images of cat that are now taken for dog: 4")
            shown = page.locator(".confusion-strip img")
            expect(shown).to_have_count(4)
            sources = [one.get_attribute("src") or "" for one in shown.all()]
            assert [int(src.split("/")[-1].split("?")[0]) for src in sources] == cats
            assert shown.evaluate_all("all => Promise.all(all.map((one) => one.decode())).then(() => true)")
            told = {i: [0.1, 0.8, 0.1] for i in (pool[0], *cats[1:])} | {cats[0]: [0.8, 0.1, 0.1]}
            publish_version(p, 2, pool[1:], probs=told)
            expect(page.get_by_label("cat, taken for dog: 3 of 4 (75%)")).to_be_focused()
            expect(shown).to_have_count(4)  # a version every few seconds does not take away what is looked at
            page.keyboard.press("ArrowDown")
            expect(shown).to_have_count(0)
            page.keyboard.press("ArrowUp")
            page.keyboard.press("Enter")
            expect(shown).to_have_count(3)
            page.get_by_role("button", name="Open in the grid the 1 that it learned from").click()
            tiles = page.locator(".grid-tile")
            expect(tiles).to_have_count(1)
            expect(tiles).to_have_attribute("data-sample-id", str(pool[0]))
            visitors.close()


def test_what_an_answer_changed_stands_beside_it_on_the_filmstrip(project: Project, visit: Visitors) -> None:
    page = visit("eve")
    first = press(page, "1")
    page.wait_for_function(f"was => document.querySelector('{IMAGE}')?.dataset.sampleId !== was", arg=str(first))
    press(page, "2")
    all_saved(page)
    mine = [event.id for event in project.store.events(annotator="eve")]
    published = project.published()
    assert published is not None
    publish_ranking(
        home(project.folder, 2),
        acquisition="margin",
        last_event_id=mine[-1],
        probs=published.probs,
        scores=published.scores,
        ranking=published.ranking,
        changes=[[mine[0] - 1, mine[0], 1, 12, 120, 0, 9, 2.0], [mine[0], mine[1], 2, 7, 120, 0, 11, 3.0]],
    )
    tiles = page.locator(".film .tile")
    expect(tiles.nth(0).locator(".flips")).to_have_text("12", timeout=10_000)
    expect(tiles.nth(1).locator(".flips")).to_have_text("7*")
    title = tiles.nth(1).get_attribute("title") or ""
    assert "7 of 120 predictions flipped with 2 answers together" in title
