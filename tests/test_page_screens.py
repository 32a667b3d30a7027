"""What the page shows in places that a sitting seldom comes to: nothing to ask, no server, a phone, large images."""

from pathlib import Path

import pytest
from pages import (
    AWAY,
    CLASSES,
    IGNORE_UNCLOSED,
    IMAGE,
    Visitors,
    all_saved,
    press,
    publish_version,
    served,
    small_project,
)
from playwright.sync_api import Browser, expect

from labeler import Project

pytestmark = IGNORE_UNCLOSED


def test_class_names_that_look_like_code_are_shown_as_text(tmp_path: Path, browser: Browser) -> None:
    names = ["${alert(1)}<b>", "{{value}}", "<img src=x onerror=alert(1)>", "`'\"&amp;"]
    names += [f"{'long ' * 50}{i}" for i in range(30)]
    with small_project(tmp_path / "project", n=12, classes=names) as project, served(project) as address:
        publish_version(project, 1)
        visit = Visitors(browser, address)
        page = visit("<i>${1+1}</i>")
        shown = page.locator(".class .name").all_inner_texts()
        assert [name.strip() for name in shown] == [name.strip() for name in names]
        expect(page.locator(".person")).to_have_text("<i>${1+1}</i>")
        page.keyboard.press("1")
        expect(page.locator(".film .tile span")).to_have_text("${alert(1)}<b>")
        box = page.locator(".actions").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 900, "many classes scroll in their own list"
        page.get_by_role("tab", name="Learning").click()
        expect(page.locator(".bar-name").first).to_have_text("${alert(1)}<b>")
        visit.close()


def test_an_image_given_back_by_others_arrives_on_an_empty_screen(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "project", n=3) as project, served(project) as address:
        project.store.lease([1, 2, 3], 3, "bob", "elsewhere-1")
        visit = Visitors(browser, address)
        page = visit.newcomer()
        expect(page.locator(".stage-message")).to_contain_text("other screens")
        project.store.release("bob", "elsewhere-1", keep=[2, 3])
        expect(page.locator(IMAGE)).to_be_visible(timeout=10_000)
        assert press(page, "1") == 1
        project.store.release("bob", "elsewhere-1")
        for _ in range(2):
            expect(page.locator(IMAGE)).to_be_visible(timeout=10_000)
            page.keyboard.press("2")
        expect(page.locator(".stage-message")).to_contain_text("Everything is answered")
        expect(page.locator(".stage-message code")).to_have_text(f"labeler export {project.folder} labels.csv")
        visit.close()
        assert project.store.labels() == {1: 1, 2: 2, 3: 2}


def test_a_page_with_nothing_to_show_asks_gently(tmp_path: Path, browser: Browser) -> None:
    """Every few seconds, whether all is answered or the server is away: not as fast as it can."""
    with small_project(tmp_path / "project", n=3) as project, served(project) as address:
        visit = Visitors(browser, address)
        visit.allowed = AWAY
        page = visit()
        asked: list[str] = []
        page.on("request", lambda r: asked.append(r.url) if r.url.endswith("/next") else None)
        for _ in range(3):
            press(page, "1")
        expect(page.locator(".stage-message")).to_contain_text("Everything is answered")
        times = []
        for away in (False, True):
            page.context.set_offline(away)
            asked.clear()
            page.wait_for_timeout(3000)
            times.append(len(asked))
        assert max(times) <= 4
        assert sum(times) >= 1
        visit.close()


def test_a_server_that_is_away_is_named_and_every_key_gets_an_answer(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "flowers", n=30) as project, served(project) as address:
        visit = Visitors(browser, address)
        visit.allowed = AWAY
        page = visit()
        page.wait_for_timeout(300)
        page.context.set_offline(True)
        n = 0
        while page.locator(IMAGE).count():
            press(page, "1")
            n += 1
        message = page.locator(".stage-message")
        expect(message).to_contain_text("The server cannot be reached", timeout=8000)
        expect(message).to_contain_text(f"{n} answers are kept in this tab and will be sent")
        expect(message.locator("code")).to_have_text(f"labeler serve {project.folder}")
        expect(page.locator(".trainer")).to_have_attribute("data-phase", "unknown")
        expect(page.locator(".rate")).to_have_text("")
        expect(page.locator(".top-say")).to_have_text(page.locator(".save").inner_text())
        page.keyboard.press("1")
        expect(page.locator(".stage-cue.on")).to_have_text("There is no image to answer yet")
        page.context.set_offline(False)
        expect(page.locator(IMAGE)).to_be_visible(timeout=10_000)
        all_saved(page)
        expect(page.locator(".top-say")).to_have_text("All saved")
        expect(page.locator(".trainer")).not_to_have_attribute("data-phase", "unknown")
        visit.close()
        assert len(project.store.labels()) == n


def test_a_project_without_images_says_how_to_import_some(tmp_path: Path, browser: Browser) -> None:
    with Project.create(tmp_path / "my flowers", CLASSES) as project, served(project) as address:
        trainer_says = {"phase": "idle", "message": "it has no images yet"}
        project.store.hold("trainer", "ours", trainer_says)
        visit = Visitors(browser, address)
        page = visit.newcomer()
        expect(page.locator(".stage-message b")).to_have_text("No images yet")
        expect(page.locator(".stage-message code")).to_have_text(f'labeler import "{project.folder}" FOLDER')
        expect(page.locator(".trainer")).to_have_text("Waiting: it has no images yet")
        visit.close()


def test_the_last_images_of_a_lone_person_are_not_said_to_be_on_other_screens(tmp_path: Path, browser: Browser) -> None:
    late = {"/labeler/commit": 1.5}
    with small_project(tmp_path / "project", n=3) as project, served(project, late=late) as address:
        visit = Visitors(browser, address)
        page = visit()
        page.evaluate(EVERY_WORD)
        for _ in range(3):
            expect(page.locator(IMAGE)).to_be_visible()
            press(page, "1")
        expect(page.locator(".stage-message")).to_contain_text("Everything is answered", timeout=10_000)
        said = page.evaluate("window.said")
        visit.close()
        assert not any("other screens" in words for words in said), said


EVERY_WORD = """() => {
  window.said = [];
  const message = document.querySelector('.stage-message');
  const changes = { childList: true, subtree: true };
  new MutationObserver(() => window.said.push(message.textContent)).observe(message, changes);
}"""


def test_a_phone_shows_the_whole_reason_more_classes_and_a_help_about_taps(tmp_path: Path, browser: Browser) -> None:
    names = [f"class {i}" for i in range(16)]
    with small_project(tmp_path / "project", n=12, classes=names) as project, served(project) as address:
        visit = Visitors(browser, address)
        page = visit.newcomer(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
        expect(page.locator(IMAGE)).to_be_visible()
        fits = "e => [e.scrollWidth <= e.clientWidth, e.scrollHeight <= e.clientHeight + 1]"
        assert page.locator(".fact-why").evaluate(fits) == [True, True]
        ends = page.locator(".classes").evaluate(
            "box => [...box.children].map((c) => c.offsetTop + c.offsetHeight / 2 - box.offsetTop - box.clientHeight)"
        )
        assert any(abs(pixels) < 10 for pixels in ends), "a row is cut in its middle, so that one sees there are more"
        page.locator(".open-help").tap()
        expect(page.locator(".help h2")).to_have_text("What to tap: Label")
        expect(page.locator(".help kbd")).to_have_count(0)
        page.locator(".help .close").tap()
        page.locator(".hints").tap()
        expect(page.locator(".stage-cue")).to_have_text("Hints come with the first model")
        expect(page.locator(".stage-cue i")).to_be_hidden()
        page.locator(".person").tap()
        page.fill("dialog.who input", "  ")
        page.locator("dialog.who .primary").tap()
        expect(page.locator("dialog.who .problem")).to_have_text("Please type a name.")
        visit.close()


def test_actual_pixels_of_a_large_image_start_at_its_centre(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "project", n=2, side=2000) as project, served(project) as address:
        visit = Visitors(browser, address)
        page = visit()
        page.keyboard.press("z")
        view, image = page.locator(".stage-view").bounding_box(), page.locator(IMAGE).bounding_box()
        visit.close()
    assert view is not None
    assert image is not None
    assert image["width"] == 2000
    for start, length in (("x", "width"), ("y", "height")):
        assert abs(view[start] + view[length] / 2 - image[start] - image[length] / 2) < 12, "scroll bars aside"


def test_the_next_large_image_is_scaled_behind_the_one_in_sight_before_its_turn(
    tmp_path: Path, browser: Browser
) -> None:
    with small_project(tmp_path / "project", n=6, side=1200) as project, served(project) as address:
        visit = Visitors(browser, address)
        page = visit()
        behind = page.locator(".stage-behind img")
        for _ in range(3):
            expect(behind).to_have_count(1)
            coming, size = behind.get_attribute("data-sample-id"), behind.get_attribute("style")
            assert int(coming or 0) != press(page, "1")
            expect(page.locator(IMAGE)).to_have_attribute("data-sample-id", str(coming))
            assert size
            assert page.locator(IMAGE).get_attribute("style") == size
        page.keyboard.press("Backspace")
        page.keyboard.press("2")
        for _ in range(3):
            press(page, "1")
        expect(page.locator(".stage-message")).to_contain_text("Every image has an answer")
        expect(behind).to_have_count(0)
        all_saved(page)
        assert sorted(project.store.labels().values()) == [1, 1, 1, 1, 1, 2]
        visit.close()


def test_small_images_need_nothing_behind_them(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "project", n=6) as project, served(project) as address:
        visit = Visitors(browser, address)
        page = visit()
        press(page, "1")
        page.wait_for_timeout(300)
        expect(page.locator(".stage-behind img")).to_have_count(0)
        visit.close()


@pytest.mark.parametrize(("width", "height"), [(844, 390), (720, 450)], ids=["phone held sideways", "zoomed to 200 %"])
def test_in_a_low_window_the_image_stands_beside_the_answers_and_nothing_scrolls(
    tmp_path: Path, browser: Browser, width: int, height: int
) -> None:
    with small_project(tmp_path / "project", n=60) as project, served(project) as address:
        publish_version(project, 1)
        visit = Visitors(browser, address)
        page = visit(width=width, height=height)
        assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
            width,
            height,
        ]
        image, side = page.locator(".stage-view").bounding_box(), page.locator(".side").bounding_box()
        assert image is not None
        assert side is not None
        assert image["width"] > 300
        assert image["height"] > 150
        assert image["x"] + image["width"] <= side["x"], "side by side"
        for place in (".class >> nth=0", ".act-flag", ".save", ".open-help"):
            box = page.locator(place).bounding_box()
            assert box is not None
            assert box["x"] >= 0, place
            assert box["x"] + box["width"] <= width, place
            assert box["y"] + box["height"] <= height, place
        page.keyboard.press("g")
        guide = page.locator(".guide").bounding_box()
        assert guide is not None
        assert image["x"] < guide["x"], "between the image and the answers"
        assert guide["y"] + guide["height"] <= height
        press(page, "1")
        all_saved(page)
        visit.close()


def test_the_help_tells_the_keys_of_the_screen_in_sight(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "project", n=60) as project, served(project) as address:
        publish_version(project, 1)
        visit = Visitors(browser, address)
        page = visit()
        told = []
        for tab in ("Label", "Grid", "Map", "Imagine", "Learning", "Classes", "Review"):
            page.get_by_role("tab", name=tab).click()
            page.keyboard.press("?")
            expect(page.locator(".help h2")).to_have_text(f"Keyboard: {tab}")
            told.append(page.locator(".help dl").inner_text())
            page.keyboard.press("?")
            expect(page.locator("dialog.help")).to_be_hidden()
        assert len(set(told)) == 7
        assert "one group, undone as one" in told[1]
        page.get_by_role("tab", name="Grid").click()
        page.locator(".grid-tiles").focus()
        page.keyboard.press("?")
        expect(page.locator(".help h2")).to_have_text("Keyboard: Grid")
        visit.close()
