"""The Review tab in a browser: an image, what people said, keys that decide."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import AWAY, IGNORE_UNCLOSED, Visitors, press, served, small_project
from playwright.sync_api import APIResponse, Browser, Page, Route, expect

from labeler import Project
from storage import NewEvent

pytestmark = IGNORE_UNCLOSED


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Images 1 to 3 are disputed, 4 has a majority."""
    with small_project(tmp_path / "project", n=40, classes=["cat", "dog", "owl"]) as p:
        p.set_overlap(1, 2)
        for sample_id in (1, 2, 3):
            for who, class_id in (("ann", 1), ("bob", 2)):
                p.store.record([NewEvent(f"{who}-{sample_id}", "label", sample_id, class_id, who, "tab")])
        for who, class_id in (("ann", 1), ("bob", 1), ("cy", 3)):
            p.store.record([NewEvent(f"{who}-4", "label", 4, class_id, who, "tab")])
        yield p


def review(page: Page) -> Page:
    """The Review tab. Requests are intercepted from the start: switched on later, it may miss the next one."""
    page.route("**/never-asked-for", lambda route: route.continue_())
    page.get_by_role("tab", name="Review").click()
    expect(page.locator(".review-said li").first).to_be_visible()
    return page


def image(page: Page) -> str | None:
    return page.locator(".review-image img").get_attribute("data-sample-id")


def test_keys_decide_accept_leave_open_and_take_back(project: Project, visit: Visitors) -> None:
    page = review(visit("eve"))
    shown = page.locator(".review-image img")
    expect(page.locator(".review-name")).to_contain_text("4 to review")
    expect(page.locator(".review-said")).to_contain_text("Person A")
    page.keyboard.press("3")
    expect(shown).to_have_attribute("data-sample-id", "2")
    assert project.store.labels() == {1: 3, 4: 1}
    page.keyboard.press("Enter")
    expect(page.locator(".review-say")).to_contain_text("No majority")
    page.keyboard.press("Space")
    expect(shown).to_have_attribute("data-sample-id", "3")
    page.keyboard.press("2")
    expect(shown).to_have_attribute("data-sample-id", "4")
    page.keyboard.press("Backspace")
    expect(shown).to_have_attribute("data-sample-id", "3")
    assert project.store.labels() == {1: 3, 4: 1}
    page.keyboard.press("1")
    expect(shown).to_have_attribute("data-sample-id", "4")
    page.keyboard.press("Enter")
    expect(page.locator(".review-empty")).to_contain_text("The rest you left open")
    assert project.store.labels() == {1: 3, 3: 1, 4: 1}
    assert [(e.kind, e.annotator, e.review) for e in project.store.events(after=9)] == [
        ("label", "eve", True), ("label", "eve", True), ("undo", "eve", True), ("label", "eve", True),
        ("label", "eve", True),
    ]  # fmt: skip


def test_an_undo_is_of_the_last_decision_though_an_older_queue_comes_after_it(
    project: Project, visit: Visitors
) -> None:
    page = review(visit("eve"))
    shown = page.locator(".review-image img")
    page.keyboard.press("3")
    expect(shown).to_have_attribute("data-sample-id", "2")
    late: list[tuple[Route, APIResponse]] = []
    page.route("**/labeler/review?*", lambda route: late.append((route, route.fetch())))
    page.keyboard.press("Space")
    expect(shown).to_have_attribute("data-sample-id", "3")
    for _ in range(200):  # fewer than three are left
        if not late:
            page.wait_for_timeout(50)
    assert len(late) == 1
    page.keyboard.press("2")
    expect(shown).to_have_attribute("data-sample-id", "4")
    late[0][0].fulfill(response=late[0][1])
    page.unroute("**/labeler/review?*")
    page.wait_for_timeout(300)
    page.keyboard.press("Backspace")
    expect(shown).to_have_attribute("data-sample-id", "3")
    assert project.store.labels() == {1: 3, 4: 1}
    page.keyboard.press("Backspace")
    expect(shown).to_have_attribute("data-sample-id", "1")
    assert project.store.labels() == {4: 1}


def test_a_button_held_with_enter_decides_one_image(project: Project, visit: Visitors) -> None:
    page = review(visit("eve"))
    page.locator(".review-class").nth(2).focus()
    for _ in range(8):
        page.keyboard.down("Enter")  # the browser repeats it
        page.wait_for_timeout(50)
    page.keyboard.up("Enter")
    expect(page.locator(".review-image img")).to_have_attribute("data-sample-id", "2")
    assert project.store.labels() == {1: 3, 4: 1}


def test_what_is_pressed_again_because_its_acknowledgement_was_lost_is_stored_once(
    project: Project, visit: Visitors
) -> None:
    visit.allowed = AWAY
    page = review(visit("eve"))
    shown, said = page.locator(".review-image img"), page.locator(".review-say")
    for key, kind, next_one in (("3", "label", "2"), ("Backspace", "undo", "1")):
        before = len(project.store.events())
        page.route("**/labeler/review", unheard)
        page.keyboard.press(key)
        expect(said).to_have_text("The server cannot be reached for now.")
        page.unroute("**/labeler/review")
        page.keyboard.press(key)
        expect(shown).to_have_attribute("data-sample-id", next_one)
        assert [event.kind for event in project.store.events()[before:]] == [kind]
    assert project.store.labels() == {4: 1}


def unheard(route: Route) -> None:
    """The server has it, and the network loses its answer."""
    route.fetch()
    route.abort()


def test_names_are_shown_when_asked_for(visit: Visitors) -> None:
    page = review(visit("eve"))
    page.keyboard.press("n")
    expect(page.locator(".review-said")).to_contain_text("ann")
    expect(page.locator(".review-agreement")).to_contain_text("On 4 images")


def test_a_persons_own_keys_are_shown_and_decide(project: Project, visit: Visitors) -> None:
    own = {"class:1": "u", "class:2": "", "class:3": "n", "unsure": "2", "skip": "k"}
    project.store.set_setting("keys of eve", own)
    page = review(visit("eve"))
    image = page.locator(".review-image img")
    expect(page.locator(".review-class kbd")).to_have_text(["U", "", "N"])
    expect(page.locator(".review-action").filter(has_text="Unsure").locator("kbd")).to_have_text("2")
    for key, next_one in (("u", "2"), ("1", "2"), ("n", "3"), ("k", "4"), ("2", None)):
        page.keyboard.press(key)
        if next_one:
            expect(image).to_have_attribute("data-sample-id", next_one)
    expect(page.locator(".review-empty")).to_contain_text("The rest you left open")
    events = [(e.kind, e.sample_id, e.class_id) for e in project.store.events(annotator="eve")]
    assert events == [("label", 1, 1), ("label", 2, 3), ("unsure", 4, None)]


def test_agreement_is_told_as_of_a_moment(project: Project, visit: Visitors) -> None:
    visit.allowed = ("Failed to load resource",)  # of what is refused
    page = review(visit("eve"))
    told = page.locator(".review-agreement header p")
    expect(told).to_contain_text("On 4 images")
    box = page.get_by_label("As of")
    for moment, says in (
        ("2", "On 1 image "),
        ("99", "There is no event 99"),
        ("lately", "'lately' is no event"),
        ("", "On 4 images"),
    ):
        box.fill(moment)
        page.keyboard.press("Enter")
        expect(told).to_contain_text(says)
    box.press("1")  # typed, not decided
    box.press("Escape")
    expect(page.locator(".review")).to_be_focused()
    assert project.store.last_event_id() == 9


def test_labels_go_to_the_label_tab_alone_while_that_is_in_sight(project: Project, visit: Visitors) -> None:
    page = visit("eve")
    before = project.store.last_event_id()
    asked = press(page, "1")
    expect(page.locator(".save")).to_have_text("All saved", timeout=10_000)
    [event] = project.store.events(after=before)
    assert (event.sample_id, event.review) == (asked, False)
    expect(page.get_by_role("tab", name="Review")).to_have_attribute("data-waiting", "4")


def test_it_fits_a_telephone(visit: Visitors) -> None:
    page = review(visit("eve", width=390, height=844))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_longest_class_name_stays_in_its_panel(tmp_path: Path, browser: Browser) -> None:
    long = "a rather long name of a class without an end " * 5
    with small_project(tmp_path / "long", n=10, classes=["cat", "w" * 200, long[:200].strip()]) as project:
        project.set_overlap(1, 2)
        for who, class_id in (("ann", 2), ("bob", 3)):
            project.store.record([NewEvent(f"{who}-10", "label", 1, class_id, who, "tab")])
        with served(project) as address:
            visit = Visitors(browser, address)
            page = review(visit("eve", width=1024, height=768))
            for width, height in ((1024, 768), (390, 844), (844, 390)):
                page.set_viewport_size({"width": width, "height": height})
                edges = page.evaluate("""() => {
                    const box = document.querySelector('.review-classes');
                    const edge = box.getBoundingClientRect().left + box.clientWidth;
                    const all = document.querySelectorAll('.review-class, .review-class span, .review-said b');
                    return [...all].map((one) => [one.getBoundingClientRect().right - edge, one.offsetHeight]);
                }""")
                assert all(right <= 0.5 and tall <= 60 for right, tall in edges), (width, edges)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            visit.close()
