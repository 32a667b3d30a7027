"""What is asked next, chosen in a browser: the next image after the change is of the new kind, and no later one."""

from collections.abc import Iterator

import numpy as np
import pytest
from conftest import wait_for
from pages import IGNORE_UNCLOSED, IMAGE, Visitors, all_saved, on_screen, press, served, small_project
from playwright.sync_api import Page, expect
from test_loop import publish_version

from labeler import Project
from labeler.control import change, control_of

pytestmark = IGNORE_UNCLOSED
LIKELY = [0.02, 0.9, 0.08], [0.08, 0.02, 0.9]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """200 images. Those of an even id are taken for a dog, the others for an owl; the ranking begins with owls."""
    with small_project(tmp_path_factory.mktemp("wishes") / "project", classes=["cat", "dog", "owl"]) as p:
        ids = p.store.sample_ids()
        ranking = np.concatenate([ids[ids % 2 == 1], ids[ids % 2 == 0]])
        publish_version(p, 1, ranking.tolist(), probs={int(i): LIKELY[i % 2] for i in ids})
        change(p.store, {"acquisition": "margin"})
        yield p


@pytest.fixture(scope="module")
def url(project: Project) -> Iterator[str]:
    with served(project) as address:
        yield address


def open_panel(page: Page) -> None:
    page.keyboard.press("q")
    expect(page.locator("dialog.wishes")).to_be_visible()


def close_panel(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.locator("dialog.wishes")).to_be_hidden()
    expect(page.locator(".lab")).to_be_focused()


def next_shown(page: Page, key: str = "1") -> int:
    """Presses a key and waits for the image that comes after it."""
    shown = press(page, key)
    page.wait_for_function(f"was => document.querySelector('{IMAGE}')?.dataset.sampleId !== was", arg=str(shown))
    return on_screen(page)


def header_says(page: Page, project: Project, phase: str, text: str) -> None:
    """While a trainer in that phase lives."""

    def says() -> bool:
        project.store.heartbeat("trainer", "me", {"phase": phase})
        return page.locator(".trainer-text").inner_text() == text

    wait_for(says, every=0.3)


def held(project: Project, page: Page, name: str) -> set[int]:
    return set(project.store.held(name, page.get_attribute(".lab", "data-client") or ""))


def test_the_very_next_image_is_of_the_class_and_what_was_held_ahead_is_given_back(
    project: Project, visit: Visitors
) -> None:
    page = visit("ann")
    shown = on_screen(page)
    wait_for(lambda: len(held(project, page, "ann")) > 4)
    assert {i % 2 for i in held(project, page, "ann")} == {1}
    open_panel(page)
    page.get_by_label("Only").select_option(label="Taken for dog")
    expect(page.locator(".wishes-say")).to_contain_text("images are open among them")
    wait_for(lambda: {i % 2 for i in held(project, page, "ann") - {shown}} == {0})
    assert shown in held(project, page, "ann")
    close_panel(page)
    expect(page.locator(".wishes-banner")).to_have_text("Only what the model takes for dogAsk all images")
    assert on_screen(page) == shown
    assert next_shown(page) % 2 == 0
    assert next_shown(page) % 2 == 0
    all_saved(page)
    newest = project.store.events()[-1]
    assert newest.acquisition == "margin among class"

    page.reload()
    expect(page.locator(".wishes-banner")).to_be_visible()
    assert next_shown(page) % 2 == 0
    page.locator(".wishes-banner .lift").click()
    expect(page.locator(".wishes-banner")).to_be_hidden()
    shown = on_screen(page)
    wait_for(lambda: {i % 2 for i in held(project, page, "ann") - {shown}} == {1})
    assert next_shown(page) % 2 == 1


def test_a_selection_made_elsewhere_acts_on_the_next_image_and_when_it_is_used_up_it_is_offered_to_lift_it(
    project: Project, visit: Visitors
) -> None:
    page = visit("bea")
    some = [int(i) for i in project.store.open_ids("pool")[-3:]]
    told = page.evaluate(
        "async (i) => (await import('/labeler/ui/canvas.js')).sitting().narrow({ sample_ids: i, title: 'A lasso' })",
        some,
    )
    assert (told["left"], told["queue"]["title"]) == (3, "A lasso")
    shown = on_screen(page)
    wait_for(lambda: held(project, page, "bea") == {*some, shown})
    seen = [next_shown(page), next_shown(page, "2"), next_shown(page, "3")]
    assert sorted(seen) == sorted(some)
    expect(page.locator(".wishes-banner p")).to_have_text("Only A lasso (3)")
    page.keyboard.press("1")
    expect(page.locator(".stage-message")).to_contain_text("Nothing is left among what you asked for")
    all_saved(page)
    page.locator(".stage-message .lift").click()
    expect(page.locator(IMAGE)).to_be_visible()
    assert on_screen(page) not in some
    assert press(page, "1") not in some  # the keys label again
    all_saved(page)


def test_another_tab_of_the_person_follows_and_what_holds_for_everybody_reaches_other_people_too(
    project: Project, visit: Visitors
) -> None:
    visit.allowed = ("Failed to load resource",)  # the refusal at the end
    page, other = visit("cy"), visit("dan")
    second = page.context.new_page()
    second.goto(page.url)
    open_panel(page)
    page.get_by_label("Order").select_option("1")
    expect(second.locator(".wishes-banner")).to_contain_text("Newest first")
    expect(other.locator(".wishes-banner")).to_be_hidden()
    newest = max(project.store.sample_ids("pool"))
    wait_for(lambda: max(held(project, page, "cy") | held(project, second, "cy")) > newest - 40)

    project.store.hold("trainer", "me", {"phase": "learning"})
    header_says(other, project, "learning", "Learning · v1")
    page.get_by_label("Asked by").select_option("entropy")
    expect(page.locator(".wishes-say")).to_have_text("It acts on the next image.")
    expect(other.locator(".fact-ask .by")).to_have_text("Entropy")
    page.get_by_label("At random").fill("100")
    wait_for(lambda: control_of(project.store).random_share == 1.0)
    page.get_by_role("button", name="Pause training").click()
    expect(page.locator(".wishes-say")).to_have_text("Training waits. Labels still count.")
    header_says(other, project, "learning", "Pausing… · v1")
    header_says(other, project, "paused", "Paused · v1")
    page.get_by_role("button", name="Resume training").click()
    expect(page.locator(".wishes-say")).to_have_text("Training goes on.")
    assert not control_of(project.store).paused

    page.route("**/labeler/control", lambda route: route.fulfill(status=403, json={"detail": "Only an admin may."}))
    page.get_by_label("Asked by").select_option("margin")
    expect(page.locator(".wishes-say")).to_have_text("Not changed: Only an admin may.")
    expect(page.get_by_label("Asked by")).to_have_value("entropy")
    page.unroute("**/labeler/control")
    close_panel(page)
    next_shown(other)
    next_shown(other)
    all_saved(other)
    assert project.store.events()[-1].acquisition == "random"
    change(project.store, {"random_share": 0.0, "acquisition": "margin"})
    project.store.let_go("trainer", "me")


FIRST_LATE = """() => {
  const { fetch } = window;
  let late = 600;
  window.fetch = async (...request) => {
    const answer = await fetch(...request);
    if (request[0].endsWith('control')) await new Promise((resolve) => setTimeout(resolve, late, (late = 0)));
    return answer;
  };
}"""


def test_of_two_changes_the_later_one_holds_although_the_first_is_answered_late(
    project: Project, visit: Visitors
) -> None:
    page = visit("ivy")
    open_panel(page)
    page.evaluate(FIRST_LATE)
    page.get_by_role("button", name="Pause training").click()
    page.get_by_label("Asked by").select_option("entropy")
    expect(page.locator(".wishes-say")).to_have_text("It acts on the next image.")
    page.wait_for_timeout(1000)  # longer than the first answer takes
    expect(page.locator(".wishes-say")).to_have_text("It acts on the next image.")
    expect(page.get_by_label("Asked by")).to_have_value("entropy")
    control = control_of(project.store)
    assert (control.paused, control.acquisition) == (True, "entropy")
    change(project.store, {"paused": False, "acquisition": "margin"})


def test_the_panel_fits_every_screen(visit: Visitors) -> None:
    page = visit("hal")
    page.locator(".open-wishes").click()
    overflow = (
        "d => [...d.querySelectorAll('*')].filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).length"
    )
    for width, height in ((1440, 900), (1024, 768), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        box = page.locator("dialog.wishes").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("dialog.wishes form").evaluate(overflow) == 0
