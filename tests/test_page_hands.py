"""What hands and networks do: other keyboards, two fingers, an acknowledgement that is lost, a clock that runs."""

from collections.abc import Iterator

import pytest
from conftest import wait_for
from pages import (
    A_WHILE_LATER,
    AWAY,
    IGNORE_UNCLOSED,
    IMAGE,
    Visitors,
    all_saved,
    on_screen,
    press,
    served,
    small_project,
)
from playwright.sync_api import Browser, Page, Route, expect

from labeler import Project

pytestmark = IGNORE_UNCLOSED


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with small_project(tmp_path_factory.mktemp("hands") / "project", n=200, side=300) as p:
        yield p


@pytest.fixture(scope="module")
def url(project: Project) -> Iterator[str]:
    with served(project) as address:
        yield address


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Visitors]:
    visitors = Visitors(browser, url)
    yield visitors
    visitors.close()


def given_by(project: Project, name: str) -> list[tuple[str, int, int | None]]:
    return [(e.kind, e.sample_id, e.class_id) for e in project.store.events(annotator=name)]


PRESSED = """([key, code, shiftKey]) => document.activeElement.dispatchEvent(
  new KeyboardEvent('keydown', { key, code, shiftKey, bubbles: true, cancelable: true }))"""


def type_on(page: Page, key: str, code: str, shift: bool = False) -> int:
    """A key of another layout; the sample that was on screen."""
    sample_id = on_screen(page)
    page.evaluate(PRESSED, [key, code, shift])
    page.wait_for_timeout(50)
    return sample_id


# Made before the first is answered: an event's time is that of its making, as a keyboard's is that of the press.
BOUNCED = """(keys) => keys.map((key) => new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }))
  .forEach((event) => document.activeElement.dispatchEvent(event))"""


KEPT_AND_SENT = """([key, frames, turnedAway]) => {
  let sent = 0;
  const { fetch } = window;
  window.fetch = (...request) => (sent += request[0].endsWith('commit'), fetch(...request));
  if (!frames) window.requestAnimationFrame = () => 0;
  document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  const spare = Object.keys(localStorage).find((name) => name.includes('outbox'));
  const { operations } = JSON.parse(localStorage.getItem(spare));
  const sentAtOnce = sent;
  if (turnedAway) document.dispatchEvent(new Event('visibilitychange'));
  return [operations.map((one) => one.sample_id), sentAtOnce, sent];
}"""


@pytest.mark.parametrize(("frames", "turned_away"), [(True, False), (False, False), (True, True)])
def test_an_answer_is_kept_with_its_key_and_sent_once_the_next_image_is_painted_or_the_page_is_out_of_sight(
    frames: bool, turned_away: bool, project: Project, visit: Visitors
) -> None:
    name = f"Fay {frames} {turned_away}"
    page = visit(name)
    sample_id = on_screen(page)
    kept, sent_at_once, sent = page.evaluate(KEPT_AND_SENT, ["3", frames, turned_away])
    assert (kept, sent_at_once, sent) == ([sample_id], 0, int(turned_away))
    expect(page.locator(IMAGE)).not_to_have_attribute("data-sample-id", str(sample_id))
    all_saved(page)
    assert given_by(project, name) == [("label", sample_id, 3)]


@pytest.mark.parametrize("second", ["3", "4"])
def test_a_key_that_bounces_and_a_finger_on_two_keys_answer_one_image(
    second: str, project: Project, visit: Visitors
) -> None:
    name = f"Bo {second}"
    page = visit(name)
    first = on_screen(page)
    page.evaluate(BOUNCED, ["3", second])
    expect(page.locator(IMAGE)).not_to_have_attribute("data-sample-id", str(first))
    next_one = on_screen(page)
    page.wait_for_timeout(50)
    assert press(page, "4") == next_one
    all_saved(page)
    assert given_by(project, name) == [("label", first, 3), ("label", next_one, 4)]
    page.evaluate(BOUNCED, ["Backspace", "Backspace"])
    expect(page.locator(IMAGE)).to_have_attribute("data-sample-id", str(next_one))
    all_saved(page)
    assert [kind for kind, *_ in given_by(project, name)] == ["label", "label", "undo"]


def test_where_digits_need_shift_the_digit_row_labels_with_and_without_it(project: Project, visit: Visitors) -> None:
    page = visit("Amélie")
    first = type_on(page, "&", "Digit1")
    second = type_on(page, "2", "Digit2", shift=True)
    third = type_on(page, "-", "Digit6")  # the sign, too: on the digit row it is a 6
    fourth = type_on(page, "a", "KeyQ")  # letters are what they say, wherever they are
    all_saved(page)
    assert given_by(project, "Amélie") == [("label", first, 1), ("label", second, 2), ("label", third, 6)]
    assert on_screen(page) == fourth, "ten classes have the digits: no class has the letter"

    page.keyboard.press("?")
    page.get_by_role("button", name="Change keys").click()
    page.locator(".keys button").and_(page.get_by_label("class 9:")).click()
    type_on(page, "&", "Digit1")
    expect(page.locator(".remap-say")).to_contain_text("class 9 has 1 now. It was the key of class 1, which has 9 now.")
    page.locator(".remap .close").click()
    assert type_on(page, "&", "Digit1") == fourth
    all_saved(page)
    assert given_by(project, "Amélie")[3:] == [("label", fourth, 9)]


def test_two_fingers_zoom_where_they_are_and_label_nothing(project: Project, visit: Visitors) -> None:
    page = visit.newcomer("pia", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    expect(page.locator(IMAGE)).to_be_visible()
    image = page.locator(IMAGE)
    before, shown = image.bounding_box(), on_screen(page)
    assert before is not None
    touches = page.context.new_cdp_session(page)

    def fingers(kind: str, apart: float) -> None:
        x, y = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
        at = [{"x": x - apart / 2, "y": y, "id": 0}, {"x": x + apart / 2, "y": y, "id": 1}]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at if kind != "touchEnd" else []})

    fingers("touchStart", 60)
    for apart in (80, 100, 120):
        fingers("touchMove", apart)
    fingers("touchEnd", 0)
    after = image.bounding_box()
    assert after is not None
    assert after["width"] == pytest.approx(2 * before["width"], rel=0.1)
    assert on_screen(page) == shown
    assert page.evaluate("visualViewport.scale") == 1, "the image alone is larger"
    page.locator(".reset-view").tap()
    assert image.bounding_box() == before
    assert given_by(project, "pia") == []


def test_answers_whose_acknowledgement_is_lost_are_stored_once(project: Project, visit: Visitors) -> None:
    visit.allowed = AWAY
    page = visit("otto")
    lost: list[int] = []

    def lose(route: Route) -> None:
        """The server has stored it; the tab never hears of that."""
        lost.append(route.fetch().status)
        route.abort()

    page.route("**/labeler/commit", lose)
    expected = [("label", press(page, str(n)), n) for n in (1, 2, 3)]
    expect(page.locator(".save")).to_contain_text("not saved yet")
    while len(lost) < 2:
        page.wait_for_timeout(50)  # the handler runs meanwhile
    assert set(lost) == {200}
    assert len(given_by(project, "otto")) >= 1
    page.reload()
    page.unroute("**/labeler/commit")
    expect(page.locator(IMAGE)).to_be_visible()
    assert on_screen(page) not in [sample_id for _, sample_id, _ in expected]
    all_saved(page)
    assert given_by(project, "otto") == expected
    assert page.locator(".film .tile").count() == 3


def test_two_tabs_of_one_person_are_never_asked_the_same_image(project: Project, visit: Visitors) -> None:
    page = visit("twin")
    other = page.context.new_page()
    other.goto(visit.url)
    expect(other.locator(IMAGE)).to_be_visible()
    asked = [press(tab, key) for key in "1234" for tab in (page, other)]
    assert len(set(asked)) == 8
    all_saved(page)
    all_saved(other)
    assert sorted(sample_id for _, sample_id, _ in given_by(project, "twin")) == sorted(asked)


def test_a_goal_of_minutes_is_reached_by_the_clock(browser: Browser, url: str) -> None:
    page = browser.new_context().new_page()
    page.clock.install()
    page.goto(url)
    page.fill("dialog.who input", "mina")
    page.keyboard.press("Enter")
    expect(page.locator(IMAGE)).to_be_visible()
    page.locator(".open-goal").click()
    page.get_by_label("How many").fill("2")
    page.get_by_label("Of what").select_option("minutes")
    page.keyboard.press("Enter")
    expect(page.locator(".open-goal")).to_have_text("0 / 2 min")
    page.keyboard.press("1")
    for told in ("1 / 2 min", "2 / 2 min"):
        expect(page.locator(".goal-note")).to_be_hidden()
        page.clock.fast_forward(61_000)
        expect(page.locator(".open-goal")).to_have_text(told)
    expect(page.locator(".goal-note")).to_contain_text("2 minutes: that was the goal1 answer in 2 min")
    page.context.close()


def test_an_answer_of_another_person_is_not_stored_as_ones_own(project: Project, visit: Visitors) -> None:
    """One browser, two tabs: a name that is changed in one of them does not put the other's answers under it."""
    visit.allowed = ("401",)
    page = visit("una")
    stranger = visit("duo")
    page.context.add_cookies(stranger.context.cookies())
    una = press(page, "4")
    expect(page.locator("dialog.who")).to_be_visible()
    assert given_by(project, "duo") == given_by(project, "una") == []
    page.fill("dialog.who input", "una")
    page.keyboard.press("Enter")
    all_saved(page)
    assert given_by(project, "una") == [("label", una, 4)]


def test_what_waits_unsent_when_another_name_is_typed_is_stored_once_its_person_is_back(
    project: Project, visit: Visitors
) -> None:
    visit.allowed = ("401",)
    page = visit("pia")
    other = page.context.new_page()
    other.goto(visit.url)
    expect(other.locator(IMAGE)).to_be_visible()
    become(other, "rob")
    pias = press(page, "4")
    page.fill("dialog.who input", "rob")
    with page.expect_event("load"):
        page.keyboard.press("Enter")
    expect(page.locator(IMAGE)).to_be_visible()
    robs = press(page, "5")
    all_saved(page)
    assert (given_by(project, "pia"), given_by(project, "rob")) == ([], [("label", robs, 5)])
    page.add_init_script(A_WHILE_LATER)
    become(page, "pia")
    wait_for(lambda: given_by(project, "pia") == [("label", pias, 4)])
    assert given_by(project, "rob") == [("label", robs, 5)]


def become(page: Page, name: str) -> None:
    """Another name in the header."""
    page.click(".top .person")
    page.fill("dialog.who input", name)
    with page.expect_event("load"):
        page.keyboard.press("Enter")
    expect(page.locator(IMAGE)).to_be_visible()


def test_a_dialog_opens_over_whichever_tab_is_in_sight(visit: Visitors) -> None:
    page = visit("dia")
    page.get_by_role("tab", name="Learning").click()
    page.locator(".open-goal").click()
    expect(page.get_by_label("How many")).to_be_focused()
    page.keyboard.press("Escape")
    page.locator(".open-help").click()
    expect(page.locator(".help h2")).to_have_text("Keyboard: Learning")
    page.get_by_role("button", name="Change keys").click()
    expect(page.locator(".remap")).to_be_visible()
