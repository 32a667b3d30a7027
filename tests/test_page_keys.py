"""Classes found by name, keys a person chose, zoom and light, a goal: without leaving the keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from pages import IGNORE_UNCLOSED, IMAGE, Visitors, all_saved, answers, on_screen, press, served, small_project
from playwright.sync_api import Browser, Page, expect

from labeler import Project

pytestmark = IGNORE_UNCLOSED
NAMES = [f"sort {i:02}" for i in range(1, 35)] + ["Épée", "Great tit", "Titmouse", "Blue tit"]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with small_project(tmp_path / "project", n=60, classes=NAMES) as p:
        yield p


def found(page: Page) -> list[str]:
    return page.locator(".find li").all_inner_texts()


# ---------- by name ----------


def test_a_class_is_found_by_its_name_and_enter_answers_the_image_in_sight(project: Project, visit: Visitors) -> None:
    page = visit()
    first = press(page, "/")
    field = page.get_by_role("combobox", name="Find a class")
    expect(field).to_be_focused()
    for typed, names in [
        ("great tit", ["Great tit"]),
        ("ti gre", ["Great tit"]),
        ("it lu", ["Blue tit"]),
        ("tit x", []),
    ]:
        field.fill(typed)
        assert found(page) == names, typed
    field.fill("")
    page.keyboard.type("tit")
    assert found(page) == ["Titmouse", "Great tit", "Blue tit"], "a name that begins so comes first"
    page.keyboard.press("ArrowDown")
    expect(page.locator(".find li[aria-selected=true]")).to_have_text("Great tit")
    assert field.get_attribute("aria-activedescendant") == "lab-found-1"
    page.keyboard.press("Enter")
    expect(page.locator(".find")).to_be_hidden()
    second = on_screen(page)
    assert second != first

    press(page, "/")
    page.keyboard.type("epee")
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    all_saved(page)
    ids = {c.name: c.id for c in project.store.classes()}
    labels = project.store.labels()
    assert [labels[i] for i in (first, second)] == [ids["Great tit"], ids["Épée"]]
    assert len(labels) == 3, "the keys label again"


def test_an_exact_name_comes_first_then_beginnings_then_words_that_begin_so(visit: Visitors) -> None:
    page = visit()
    names = ["potato ak", "an oak tree", "tall oaks", "oak leaf", "Oak", "soak", "teal oak", "otter", "oat eater"]
    matches = """([typed, names]) => import('/labeler/ui/find.js').then((find) =>
        find.matches(typed, names.map((name) => ({ name }))).map((one) => one.name))"""
    expected = {
        "oak": ["Oak", "oak leaf", "an oak tree", "tall oaks", "teal oak", "soak"],
        "te oa": ["teal oak", "oat eater"],
        " oak  TREE ": ["an oak tree"],
    }
    assert {typed: page.evaluate(matches, [typed, names]) for typed in expected} == expected


def test_leaving_the_search_answers_nothing_and_no_key_gets_through_it(project: Project, visit: Visitors) -> None:
    page = visit()
    shown = on_screen(page)
    for typed in ("1", "no such name", " "):
        page.keyboard.press("/")
        page.keyboard.type(typed)
        if typed != "1":
            page.keyboard.press("Enter")  # nothing is found
            expect(page.locator(".find-note")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(".find")).to_be_hidden()
    page.keyboard.press("/")
    page.locator(".stage-facts").click()
    expect(page.locator(".find")).to_be_hidden()
    assert on_screen(page) == shown
    all_saved(page)
    assert answers(project) == []


def test_enter_held_or_pressed_twice_answers_one_image(project: Project, visit: Visitors) -> None:
    page = visit()
    page.keyboard.press("m")
    first = press(page, "/")
    page.keyboard.type("blue")
    for _ in range(3):
        page.keyboard.down("Enter")  # the browser repeats it
    page.keyboard.up("Enter")
    page.keyboard.press("Enter")
    page.keyboard.down("/")
    page.keyboard.down("/")
    page.keyboard.up("/")
    assert page.locator(".find input").input_value() in ("", "/")
    page.keyboard.press("Escape")
    all_saved(page)
    assert [sample_id for _, sample_id, _ in answers(project)] == [first]


def test_a_name_answers_the_image_the_search_began_on_and_no_other(project: Project, visit: Visitors) -> None:
    page = visit()
    shown, client = on_screen(page), page.get_attribute(".lab", "data-client") or ""
    page.keyboard.press("/")
    page.keyboard.type("blue")
    project.store.release("ann", client)
    project.store.lease([shown], 1, "bob", "elsewhere-1")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(f"{IMAGE}:not([data-sample-id='{shown}'])")).to_be_visible()
    expect(page.locator(".find input")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".stage-cue")).to_contain_text("nothing was answered")
    all_saved(page)
    assert answers(project) == []


# ---------- keys ----------


def remap(page: Page, name: str, key: str) -> str:
    """What the dialog says after a class or an action was given a key."""
    page.locator(".keys button").and_(page.get_by_label(f"{name}:")).click()
    expect(page.locator(".remap-say")).to_contain_text(f"Press the key for {name}")
    page.keyboard.press(key)
    expect(page.locator(".remap-say")).not_to_contain_text("Press the key for")
    return page.inner_text(".remap-say")


def test_keys_are_changed_in_the_middle_of_a_sitting_and_remembered_for_this_person(
    project: Project, visit: Visitors
) -> None:
    page = visit()
    page.keyboard.press("?")
    page.get_by_role("button", name="Change keys").click()
    assert "F now. It was the key of Flag, which has none now" in remap(page, "Titmouse", "f")
    assert "Q now. It was the key of" in remap(page, "Flag", "q")
    assert "Enter cannot be taken" in remap(page, "Skip", "Enter")
    page.keyboard.press("/")
    expect(page.locator(".remap-say")).to_have_text("/ finds a class by its name, and stays so. Press another key.")
    page.keyboard.press("Escape")
    expect(page.locator(".remap")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".remap")).to_be_hidden()

    ids = {c.name: c.id for c in project.store.classes()}
    first, second = press(page, "f"), press(page, "q")
    all_saved(page)
    assert answers(project) == [("label", first, ids["Titmouse"]), ("flag", second, None)]
    page.reload()
    expect(page.locator(".act-flag kbd")).to_have_text("Q")
    third = press(page, "f")
    all_saved(page)
    assert project.store.labels()[third] == ids["Titmouse"]

    other = visit("bob")
    assert press(other, "f")
    all_saved(other)
    assert answers(project)[-1][0] == "flag", "another person has the keys of the project"

    page.keyboard.press("?")
    page.get_by_role("button", name="Change keys").click()
    page.get_by_role("button", name="As they were at first").click()
    expect(page.locator(".act-flag kbd")).to_have_text("F")
    wait_for(lambda: project.store.setting("keys of ann") == {})


# ---------- zoom and light ----------


def test_a_large_image_is_looked_closer_at_and_the_next_one_is_whole_again(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "project", n=4, side=1600) as project, served(project) as address:
        visit = Visitors(browser, address)
        page = visit()
        image = page.locator(IMAGE)

        def width() -> float:
            box = image.bounding_box()
            assert box is not None
            return box["width"]

        fitted = width()
        page.keyboard.press("+")
        assert width() == pytest.approx(1.25 * fitted, rel=0.01)
        page.keyboard.press("-")
        assert width() == pytest.approx(fitted, rel=0.01)
        page.locator(".stage-view").dblclick(position={"x": 300, "y": 200})
        assert width() == 1600
        before = image.bounding_box()
        page.mouse.move(500, 400)
        page.mouse.down()
        page.mouse.move(440, 370)
        page.mouse.up()
        after = image.bounding_box()
        assert before is not None
        assert after is not None
        assert (after["x"] - before["x"], after["y"] - before["y"]) == (-60, -30)
        page.mouse.wheel(0, -300)
        assert width() > 1600
        page.keyboard.press(".")
        page.keyboard.press("Shift+>")
        filtered = page.locator(".stage-image").evaluate("e => e.style.filter")
        assert filtered == "brightness(1.1) contrast(1.1)"

        press(page, "1")
        assert width() == pytest.approx(fitted, rel=0.01), "the next image is seen whole"
        assert page.locator(".stage-image").evaluate("e => e.style.filter") == filtered, "in the same light"
        page.keyboard.press("Escape")
        assert page.locator(".stage-image").evaluate("e => e.style.filter") == ""
        page.locator(".open-light").click()
        page.get_by_label("Same zoom on the next image").check()
        page.keyboard.press("z")
        press(page, "2")
        assert width() == 1600, "unless one holds it"
        all_saved(page)
        visit.close()
        assert len(project.store.labels()) == 2


def test_a_small_image_grows_by_whole_pixels_only(project: Project, visit: Visitors) -> None:
    page = visit()
    widths = []
    for key in ("+", "+", "-", "z", "z"):
        page.keyboard.press(key)
        box = page.locator(IMAGE).bounding_box()
        assert box is not None
        widths.append(box["width"])
        assert box["width"] % 8 == 0
        assert box["x"] == round(box["x"])
        assert page.locator(IMAGE).evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    assert widths[0] < widths[1]


# ---------- the sitting ----------


def test_a_goal_is_shown_and_said_once_without_getting_in_the_way(project: Project, visit: Visitors) -> None:
    page = visit()
    page.locator(".open-goal").click()
    page.get_by_label("How many").fill("3")
    page.keyboard.press("Enter")
    expect(page.locator(".open-goal")).to_have_text("0 / 3")
    for _ in range(2):
        press(page, "1")
    page.keyboard.press("Backspace")
    expect(page.locator(".open-goal")).to_have_text("1 / 3")
    press(page, "1")
    page.reload()
    expect(page.locator(IMAGE)).to_be_visible()
    expect(page.locator(".open-goal")).to_have_text("2 / 3")
    expect(page.locator(".goal-note")).to_be_hidden()
    press(page, "2")
    expect(page.locator(".goal-note")).to_contain_text("3 answers: that was the goal")
    press(page, "3")
    press(page, "4")
    expect(page.locator(".open-goal")).to_have_text("3 / 3")
    page.locator(".goal-note .close").click()
    press(page, "5")
    expect(page.locator(".goal-note")).to_be_hidden()
    expect(page.locator(".rate")).to_contain_text("s each")
    all_saved(page)
    assert len(project.store.labels()) == 6
