"""The Grid tab in a real browser: marked by keyboard and mouse, confirmed with one key, taken back with one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from pages import (
    IGNORE_UNCLOSED,
    Visitors,
    all_saved,
    answers,
    on_screen,
    press,
    publish_version,
    served,
    small_project,
)
from playwright.sync_api import Browser, Page, expect

from labeler import Project

pytestmark = IGNORE_UNCLOSED


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """200 images that the model takes for class 3."""
    with small_project(tmp_path / "project") as p:
        publish_version(p, 1, labels=1)
        yield p


def open_grid(page: Page) -> list[int]:
    """The samples of the Grid tab, in their order."""
    page.get_by_role("tab", name="Grid").click()
    expect(page.locator(".grid-tile").first).to_be_visible()
    return shown(page)


def shown(page: Page) -> list[int]:
    return [int(i) for i in page.eval_on_selector_all(".grid-tile", "all => all.map((one) => one.dataset.sampleId)")]


def marked(page: Page) -> list[int]:
    return [int(i) for i in page.eval_on_selector_all(".grid-tile.wrong", "all => all.map((o) => o.dataset.sampleId)")]


def confirmed(page: Page, before: list[int]) -> list[int]:
    """Enter, and the samples that came then."""
    return after_key(page, "Enter", before)


def after_key(page: Page, key: str, before: list[int]) -> list[int]:
    page.keyboard.press(key)
    others = "shown => { const t = document.querySelector('.grid-tile'); return t && t.dataset.sampleId !== shown }"
    page.wait_for_function(others, arg=str(before[0]))
    all_saved(page)
    return shown(page)


def test_one_key_labels_all_that_is_not_marked_and_one_takes_it_back(project: Project, visit: Visitors) -> None:
    page = visit()
    on_canvas = on_screen(page)
    tiles = open_grid(page)
    assert len(tiles) == 48
    assert on_canvas not in tiles
    expect(page.locator(".grid-ask")).to_contain_text("All class 3?")
    for key in ("ArrowRight", "Space", "ArrowRight", "Space", "5", "ArrowRight", "7"):
        page.keyboard.press(key)
    expect(page.locator(".grid-actions .primary")).to_contain_text("45 are class 3")
    expect(page.locator(".grid-left")).to_have_text("3 of another class")  # both marked ones became class 5
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    expect(page.locator(".grid-left")).to_have_text("1 left open, 3 of another class")
    assert marked(page) == tiles[1:5]

    after = confirmed(page, tiles)
    expected = dict.fromkeys(tiles, 3) | {tiles[1]: 5, tiles[2]: 5, tiles[3]: 7}
    del expected[tiles[4]]
    assert project.store.labels() == expected
    assert len({event.group_id for event in project.store.events()}) == 1
    assert {(e.acquisition, e.predicted_class_id, e.version) for e in project.store.events()} == {
        ("grid certain", 3, 1)
    }
    assert not set(after) & set(tiles)
    expect(page.locator(".progress-text")).to_have_text("47 of 200 labeled")

    assert after_key(page, "Backspace", after) == tiles
    assert project.store.labels() == {}
    expect(page.locator(".progress-text")).to_have_text("0 of 200 labeled")
    assert marked(page) == tiles[1:5]
    expect(page.locator(".grid-left")).to_have_text("1 left open, 3 of another class")
    held = project.store.held("ann", f"{page.get_attribute('.lab', 'data-client')}-grid")
    assert sorted(held) == sorted(tiles)
    page.keyboard.press("Backspace")
    page.wait_for_timeout(300)
    assert len(project.store.events()) == 94


def test_what_was_undone_is_mended_and_confirmed_again_without_what_others_have_by_now(
    project: Project, visit: Visitors
) -> None:
    page = visit()
    tiles = open_grid(page)
    for key in ("5", "ArrowRight", "Space"):
        page.keyboard.press(key)
    after = confirmed(page, tiles)
    assert project.store.lease([tiles[1]], 1, "ben", "elsewhere") == [tiles[1]]  # it was left open
    assert after_key(page, "Backspace", after) == [tiles[0], *tiles[2:]]
    expect(page.locator(".grid-ask")).to_have_attribute("data-said", re.compile("1 image is left out"))
    assert marked(page) == tiles[:1]
    for key in ("ArrowRight", "7"):
        page.keyboard.press(key)
    confirmed(page, tiles)
    assert project.store.labels() == dict.fromkeys(tiles[3:], 3) | {tiles[0]: 5, tiles[2]: 7}


def test_a_drag_and_a_click_with_shift_mark_several(visit: Visitors) -> None:
    page = visit()
    tiles = open_grid(page)
    centre = [page.locator(".grid-tile").nth(i).bounding_box() for i in range(3)]
    at = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in centre if box]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1])
    page.mouse.move(*at[2])
    page.mouse.up()
    assert marked(page) == tiles[:3]
    page.locator(".grid-tile").nth(1).click()
    assert marked(page) == [tiles[0], tiles[2]]
    page.locator(".grid-tile").nth(5).click()
    page.locator(".grid-tile").nth(8).click(modifiers=["Shift"])
    assert marked(page) == [tiles[0], tiles[2], *tiles[5:9]]
    page.keyboard.press("Escape")
    assert marked(page) == []
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert marked(page) == tiles[:3]


def test_a_class_key_is_for_the_image_under_the_keys_and_for_all_marked_ones_if_it_is_one(visit: Visitors) -> None:
    page = visit()
    tiles = open_grid(page)
    left, every = page.locator(".grid-left"), page.locator(".grid-tile")
    for key in ("ArrowRight", "Space", "ArrowRight", "5"):
        page.keyboard.press(key)
    expect(left).to_have_text("1 left open, 1 of another class")
    expect(every.nth(2).locator(".grid-as")).to_have_text("class 5")
    for key in ("ArrowLeft", "Shift+ArrowRight", "Shift+ArrowRight"):  # over the one that is class 5
        page.keyboard.press(key)
    assert marked(page) == tiles[1:4]
    expect(left).to_have_text("2 left open, 1 of another class")
    page.keyboard.press("7")
    assert every.locator(".grid-as").all_inner_texts()[:5] == ["", "class 7", "class 5", "class 7", ""]
    every.nth(8).click()
    every.nth(6).hover()
    page.mouse.down()
    for place in (5, 4, 3):  # the last one is class 7 and stays so
        every.nth(place).hover()
    every.nth(4).hover()
    page.mouse.up()
    expect(left).to_have_text("4 left open, 3 of another class")
    page.keyboard.press("9")
    expect(left).to_have_text("7 of another class")
    as_classes = ["", "class 7", "class 5", "class 7", *["class 9"] * 3, "", "class 9"]
    assert every.locator(".grid-as").all_inner_texts()[:9] == as_classes


def test_other_images_come_without_an_answer_and_the_marked_ones_stay_open(project: Project, visit: Visitors) -> None:
    page = visit()
    tiles = open_grid(page)
    others = after_key(page, "PageDown", tiles)
    assert not set(others) & set(tiles)
    for _ in range(3):
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
    after = confirmed(page, others)
    assert not set(after) & set(others)
    assert set(project.store.open_ids("pool").tolist()) >= set(others[:3])


def test_images_like_a_chosen_one_may_be_of_another_class(project: Project, visit: Visitors) -> None:
    page = visit()
    tiles = open_grid(page)
    page.keyboard.press(".")
    expect(page.locator(".grid-ask")).to_contain_text("Like the image you chose")
    page.locator('.grid-class[data-class-id="8"]').click()
    expect(page.locator(".grid-actions .primary")).to_contain_text("48 are class 8")
    alike = shown(page)
    confirmed(page, alike)
    wait_for(lambda: len(project.store.labels()) == 48)
    assert set(project.store.labels().values()) == {8}
    assert set(project.store.labels()) == set(alike)
    assert {event.acquisition for event in project.store.events()} == {"grid alike"}
    assert len(tiles) == 48


def test_the_canvas_and_the_grid_share_one_outbox_and_never_an_image(project: Project, visit: Visitors) -> None:
    page = visit()
    press(page, "1")
    tiles = open_grid(page)
    after = confirmed(page, tiles)
    page.get_by_role("tab", name="Label").click()
    second = press(page, "2")
    all_saved(page)
    assert second not in {*tiles, *after}
    labels = [sample_id for kind, sample_id, _ in answers(project) if kind == "label"]
    assert len(labels) == len(set(labels)) == 50
    page.keyboard.press("Backspace")  # takes back the canvas's answer, not one of the grid's
    all_saved(page)
    assert len(project.store.labels()) == 49
    assert second not in project.store.labels()
    held = project.store.held("ann", f"{page.get_attribute('.lab', 'data-client')}-grid")
    wait_for(lambda: held == [] or not project.store.held("ann", f"{page.get_attribute('.lab', 'data-client')}-grid"))


def test_the_grid_waits_for_the_first_model_and_fills_by_itself(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "new", n=30) as project, served(project) as address:
        visit = Visitors(browser, address)
        page = visit()
        page.get_by_role("tab", name="Grid").click()
        expect(page.locator(".grid-ask")).to_contain_text("comes with the first model that knows a label")
        expect(page.locator(".grid-actions .primary")).to_be_disabled()
        publish_version(project, 1, labels=2)
        expect(page.locator(".grid-tile").first).to_be_visible()
        visit.close()


def test_a_reload_keeps_class_order_images_and_marks(project: Project, visit: Visitors) -> None:
    page = visit()
    tiles = open_grid(page)
    tiles = after_key(page, "PageDown", tiles)
    for key in ("ArrowRight", "Space", "ArrowRight", "5", "ArrowRight", "Space"):
        page.keyboard.press(key)
    page.reload()
    expect(page.locator(".grid-left")).to_have_text("2 left open, 1 of another class")
    assert shown(page) == tiles
    assert marked(page) == tiles[1:4]
    held = project.store.held("ann", f"{page.get_attribute('.lab', 'data-client')}-grid")
    assert sorted(held) == sorted(tiles)

    project.loop("ben", "tab").answer_many({tiles[1]: "class 4"})
    page.reload()
    expect(page.locator(".grid-ask")).to_have_attribute("data-said", re.compile("^1 image is left out"))
    assert shown(page) == [tiles[0], *tiles[2:]]
    assert marked(page) == tiles[2:4]

    page.get_by_role("button", name="Most doubtful").click()
    page.locator('.grid-class[data-class-id="5"]').click()
    expect(page.locator(".grid-ask")).to_contain_text("No open image is taken for class 5")
    page.reload()
    expect(page.locator(".grid-ask")).to_contain_text("No open image is taken for class 5")
    expect(page.locator('.grid-class[data-class-id="5"]')).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Most doubtful")).to_have_attribute("aria-pressed", "true")


def test_groups_are_undone_once_each_after_a_reload_and_not_what_was_undone_elsewhere(
    project: Project, visit: Visitors
) -> None:
    page = visit()
    first = open_grid(page)
    page.keyboard.press("5")
    second = confirmed(page, first)
    third = confirmed(page, second)
    page.reload()
    expect(page.locator(".grid-tile")).to_have_count(48)
    assert after_key(page, "Backspace", third) == second
    assert project.store.labels() == dict.fromkeys(first, 3) | {first[0]: 5}
    page.reload()
    expect(page.locator(".grid-tile")).to_have_count(48)
    assert after_key(page, "Backspace", second) == first
    assert marked(page) == first[:1]
    assert project.store.labels() == {}
    page.reload()
    expect(page.locator(".grid-left")).to_have_text("1 of another class")
    page.keyboard.press("Backspace")
    said = page.locator(".grid-ask")
    expect(said).to_have_attribute("data-said", "Nothing to undo in the grid")
    assert len(project.store.events()) == 4 * 48

    after = confirmed(page, first)
    page.reload()
    expect(page.locator(".grid-tile")).to_have_count(48)
    [group] = {event.group_id for event in project.store.events(after=4 * 48)}
    assert group is not None
    project.store.undo_group(group, "by-a-command", "ann", "elsewhere")
    assert after_key(page, "Backspace", after) == first[:-1]  # the last one is on the screen that undid it
    told = re.compile("^48 of 48 labels were not undone: That answer was taken back already. 1 image is left out")
    expect(said).to_have_attribute("data-said", told)
    assert len(project.store.events()) == 6 * 48
    assert project.store.labels() == {}


def choose(page: Page, among: list[int], title: str, decided: bool = False) -> None:
    """As another tab of the page opens the grid on a set of images."""
    page.evaluate(
        "set => import('/labeler/ui/grid.js').then((grid) => grid.openGrid(set))",
        {"among": among, "decided": decided, "title": title},
    )
    expect(page.get_by_role("tab", name="Grid")).to_have_attribute("aria-selected", "true")


def test_the_grid_opens_on_a_chosen_set_keeps_it_over_a_reload_and_lets_it_go(
    project: Project, visit: Visitors
) -> None:
    page = visit()
    chosen = list(range(101, 121))
    choose(page, chosen, "20 from the map")
    expect(page.locator(".grid-tile")).to_have_count(20)
    assert shown(page) == chosen
    expect(page.locator(".grid-chosen")).to_contain_text("20 from the map")
    expect(page.locator('.grid-class[data-class-id="3"]')).to_contain_text("20")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    wait_for(lambda: set(project.store.labels()) == set(chosen[1:]))
    expect(page.locator(".grid-tile")).to_have_count(1)  # the marked one is still open, and nothing else of the set
    assert {event.acquisition for event in project.store.events()} == {"grid chosen certain"}
    page.reload()
    expect(page.locator(".grid-tile")).to_have_count(1)
    expect(page.locator(".grid-chosen")).to_contain_text("20 from the map")
    page.keyboard.press("Enter")
    expect(page.locator(".grid-ask")).to_contain_text("None of them is open any more")
    page.get_by_role("button", name="20 from the map: back to all open images").click()
    expect(page.locator(".grid-tile")).to_have_count(48)
    expect(page.locator(".grid-chosen")).to_have_count(0)
    page.reload()
    expect(page.locator(".grid-tile")).to_have_count(48)
    expect(page.locator(".grid-chosen")).to_have_count(0)
    choose(page, [150, 151], "2 from the map")  # over one that is in sight
    expect(page.locator(".grid-tile")).to_have_count(2)
    assert shown(page) == [150, 151]


def test_marked_ones_of_a_labeled_set_get_another_class_and_the_others_stay_as_they_are(
    project: Project, visit: Visitors
) -> None:
    project.loop("ben", "tab").answer_many(dict.fromkeys((20, 21, 22, 23), "class 4") | {24: "class 6"})
    before = project.store.labels()
    page = visit()
    choose(page, [20, 21, 22, 23, 24, 25], "class 4 taken for class 3: 6", decided=True)
    expect(page.locator(".grid-tile")).to_have_count(4)
    assert shown(page) == [20, 21, 22, 23]
    expect(page.locator(".grid-tile").first).to_have_text("class 4")
    expect(page.locator(".grid-tile").first).to_have_attribute("aria-label", re.compile("labeled class 4"))
    primary = page.locator(".grid-actions .primary")
    expect(primary).to_contain_text("All right: go on")
    page.keyboard.press("Space")
    expect(primary).to_contain_text("What is the marked one?")
    page.keyboard.press("Enter")  # does not say what it is
    expect(page.locator(".grid-ask")).to_have_attribute("data-said", re.compile("What is the marked one"))
    assert project.store.labels() == before
    page.locator('.grid-class[data-class-id="7"]').click()  # a class above says it, as its key does
    page.keyboard.press("ArrowRight")
    page.keyboard.press("9")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("4")  # what it is already
    expect(primary).to_contain_text("Correct 2")
    page.keyboard.press("Enter")
    wait_for(lambda: project.store.labels() == before | {20: 7, 21: 9})
    corrections = project.store.events(annotator="ann")
    assert {(e.kind, e.acquisition, e.predicted_class_id) for e in corrections} == {("label", "grid decided", 3)}
    assert len(corrections) == 2
    assert len({event.group_id for event in corrections}) == 1
    assert project.store.held("ann", f"{page.get_attribute('.lab', 'data-client')}-grid") == []
    expect(page.locator(".grid-tile").first).to_be_visible()
    page.keyboard.press("Backspace")
    wait_for(lambda: project.store.labels() == before)
    expect(page.locator(".grid-tile")).to_have_count(4)
    assert shown(page) == [20, 21, 22, 23]
    assert marked(page) == [20, 21]
    expect(primary).to_contain_text("Correct 2")
