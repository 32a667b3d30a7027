"""The page in a real browser: what a person presses is what the database holds."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from pages import (
    A_WHILE_LATER,
    AWAY,
    CLASSES,
    IGNORE_UNCLOSED,
    IMAGE,
    KEYS,
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
from storage import NewEvent

pytestmark = IGNORE_UNCLOSED


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with small_project(tmp_path / "project") as p:
        yield p


BURST = """
async ([keys, gap]) => {
  const pressed = [];
  for (const key of keys) {
    const image = document.querySelector('.stage-image img');
    pressed.push([Number(image?.dataset.sampleId ?? 0), key]);
    document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    await new Promise((resolve) => setTimeout(resolve, gap));
  }
  return pressed;
}
"""


def burst(page: Page, keys: list[str], gap: int = 71) -> list[tuple[str, int, int]]:
    """Presses keys at an even pace from within the page; the labels that should come of it.

    None of a press that met no image: a machine that has other work may be slower than the hand.
    """
    pressed = page.evaluate(BURST, [keys, gap])
    return [("label", sample_id, KEYS.index(key) + 1) for sample_id, key in pressed if sample_id]


def test_sixty_labels_by_keyboard_are_in_the_database_in_the_order_pressed(project: Project, visit: Visitors) -> None:
    page = visit("Ann")
    expected = [("label", press(page, KEYS[(7 * i) % 10]), (7 * i) % 10 + 1) for i in range(60)]
    all_saved(page)

    assert answers(project) == expected
    assert len({sample_id for _, sample_id, _ in expected}) == 60
    events = project.store.events()
    assert {event.annotator for event in events} == {"Ann"}
    assert all(event.ms is not None and 0 <= event.ms < 5000 for event in events)
    assert len({event.uid for event in events}) == 60
    expect(page.locator(".progress-text")).to_have_text("60 of 200 labeled")
    assert page.locator(".class .count").all_inner_texts() == ["6"] * 10


@pytest.mark.parametrize("delay", [0.0, 0.4])
def test_changing_keys_at_fourteen_a_second_label_each_image_as_pressed(
    project: Project, browser: Browser, delay: float
) -> None:
    with served(project, late={"/labeler/commit": delay}) as address:
        visit = Visitors(browser, address)
        page = visit()
        expected = burst(page, [KEYS[(3 * i) % 10] for i in range(40)])
        all_saved(page)
        visit.close()

    assert answers(project) == expected
    assert len({sample_id for _, sample_id, _ in expected}) == len(expected) >= 16


def test_a_hand_that_does_not_rest_is_asked_by_a_new_ranking(project: Project, visit: Visitors) -> None:
    page = visit()
    page.wait_for_load_state("networkidle")
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url) if request.url.endswith("/labeler/state") else None)
    publish_version(project, 1)
    expected = burst(page, [KEYS[i % 10] for i in range(30)], gap=150)
    assert len(polls) >= 3
    all_saved(page)
    assert answers(project) == expected
    versions = [event.version for event in project.store.events()]
    assert versions[0] is None
    assert versions[-1] == 1


def test_a_refill_that_overtakes_a_commit_brings_no_image_twice(project: Project, browser: Browser) -> None:
    """Commits are late, so every refill arrives while answers to images it might bring are still on their way."""
    with served(project, late={"/labeler/commit": 0.7}) as address:
        visit = Visitors(browser, address)
        page = visit()
        expected = burst(page, [KEYS[i % 10] for i in range(15)], gap=100)
        publish_version(project, 1)  # and a new ranking asks for everything anew meanwhile
        page.wait_for_timeout(1600)
        expected += burst(page, [KEYS[i % 10] for i in range(15)], gap=100)
        all_saved(page)
        visit.close()

    assert answers(project) == expected
    assert len({sample_id for _, sample_id, _ in expected}) == len(expected) >= 16


def test_undo_brings_back_that_very_image(project: Project, visit: Visitors) -> None:
    page = visit()
    first, second = press(page, "1"), press(page, "2")
    third = on_screen(page)

    page.keyboard.press("Backspace")
    assert on_screen(page) == second
    page.keyboard.press("Backspace")
    assert on_screen(page) == first
    assert press(page, "5") == first
    assert press(page, "s") == second
    assert on_screen(page) == third
    all_saved(page)

    kinds = [kind for kind, _, _ in answers(project)]
    assert kinds == ["label", "label", "undo", "undo", "label", "skip"]
    states = project.store.states()
    assert {i: (s.kind, s.class_id) for i, s in states.items()} == {first: ("label", 5), second: ("skip", None)}


def test_skip_unsure_and_flag_are_told_apart_and_undone_like_labels(project: Project, visit: Visitors) -> None:
    page = visit()
    ids = [press(page, key) for key in (" ", "u", "f", "s")]
    page.keyboard.press("Backspace")
    assert on_screen(page) == ids[3]
    all_saved(page)
    assert {i: s.kind for i, s in project.store.states().items()} == dict(
        zip(ids[:3], ["skip", "unsure", "flag"], strict=True)
    )
    assert page.locator(".film .tile").all_inner_texts() == ["Skipped", "Unsure", "Flagged"]


def test_the_filmstrip_stands_at_the_newest_answer_unless_it_was_scrolled_back(
    project: Project, visit: Visitors
) -> None:
    page = visit()
    project.loop("ann", "before").commit([NewEvent(f"before-{i}", "label", i, 1) for i in range(100, 160)])
    page.get_by_role("tab", name="Learning").click()
    page.reload()  # the answers come back while the strip is not in sight
    expect(page.locator(".film .tile")).to_have_count(60)
    newest = page.locator(".film .tile").last
    page.get_by_role("tab", name="Label", exact=True).click()
    expect(newest).to_be_in_viewport(ratio=0.9)
    page.set_viewport_size({"width": 900, "height": 800})
    expect(newest).to_be_in_viewport(ratio=0.9)

    page.locator(".film").hover()
    page.mouse.wheel(-600, 0)
    expect(newest).not_to_be_in_viewport()
    page.wait_for_timeout(200)  # until it has come to rest
    back = page.locator(".film").evaluate("film => film.scrollLeft")
    page.get_by_role("tab", name="Learning").click()
    expect(page.locator(".film")).to_be_hidden()
    page.get_by_role("tab", name="Label", exact=True).click()
    page.set_viewport_size({"width": 800, "height": 800})
    page.wait_for_timeout(200)
    assert page.locator(".film").evaluate("film => film.scrollLeft") == back
    page.keyboard.press("1")
    expect(newest).to_be_in_viewport(ratio=0.9)


def test_a_click_on_the_filmstrip_corrects_that_image_and_returns(project: Project, visit: Visitors) -> None:
    page = visit()
    ids = [press(page, "1") for _ in range(4)]
    current = on_screen(page)

    page.locator(".film .tile").nth(1).click()
    expect(page.locator(".stage-banner")).to_contain_text("Your answer: class 1")
    assert on_screen(page) == ids[1]
    assert press(page, "8") == ids[1]
    assert on_screen(page) == current, "back where the person was"

    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert on_screen(page) == ids[2]
    page.keyboard.press("ArrowRight")
    assert on_screen(page) == ids[3]
    page.keyboard.press("Escape")
    assert press(page, "2") == current
    all_saved(page)

    assert project.store.labels() == {ids[0]: 1, ids[1]: 8, ids[2]: 1, ids[3]: 1, current: 2}
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")  # the correction: the label before it holds again
    all_saved(page)
    assert on_screen(page) == ids[1]
    assert project.store.labels() == dict.fromkeys(ids, 1)


def test_a_reload_with_unsent_answers_loses_nothing_and_keeps_the_image(project: Project, visit: Visitors) -> None:
    visit.allowed = AWAY
    page = visit()
    ids = [press(page, "3") for _ in range(3)]
    all_saved(page)
    page.route("**/labeler/commit", lambda route: route.abort())
    ids += [press(page, "4") for _ in range(2)]
    expect(page.locator(".save")).to_have_text("Offline · 2 not saved yet")
    current = on_screen(page)
    assert len(project.store.labels()) == 3

    page.unroute("**/labeler/commit")
    page.reload()

    expect(page.locator(IMAGE)).to_be_visible()
    assert on_screen(page) == current
    all_saved(page)
    assert answers(project) == [("label", i, 3) for i in ids[:3]] + [("label", i, 4) for i in ids[3:]]
    assert page.locator(".film .tile").count() == 5
    page.keyboard.press("Backspace")
    assert on_screen(page) == ids[-1], "undo reaches back over the reload"
    all_saved(page)
    assert ids[-1] not in project.store.labels()


def test_answers_given_offline_arrive_in_order_when_the_server_is_back(project: Project, visit: Visitors) -> None:
    visit.allowed = AWAY
    page = visit()
    ids = [press(page, "1")]
    all_saved(page)
    page.context.set_offline(True)
    ids += [press(page, key) for key in "23"]
    expect(page.locator(".save")).to_have_text("Offline · 2 not saved yet")
    page.keyboard.press("Backspace")
    expect(page.locator(".save")).to_have_text("Offline · 3 not saved yet")
    page.context.set_offline(False)
    all_saved(page)

    assert [kind for kind, _, _ in answers(project)] == ["label", "label", "label", "undo"]
    assert project.store.labels() == {ids[0]: 1, ids[1]: 2}
    assert on_screen(page) == ids[2]


def test_answers_a_closed_tab_had_not_sent_are_sent_by_the_next_one(project: Project, visit: Visitors) -> None:
    visit.allowed = AWAY
    page = visit()
    page.context.set_offline(True)
    ids = [press(page, key) for key in "123"]
    expect(page.locator(".save")).to_have_text("Offline · 3 not saved yet")
    page.once("dialog", lambda dialog: dialog.dismiss())
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    page.close()
    page.context.set_offline(False)

    following = page.context.new_page()
    following.add_init_script(A_WHILE_LATER)
    following.goto(visit.url)
    expect(following.locator(IMAGE)).to_be_visible()
    wait_for(lambda: len(project.store.events()) == 3)
    all_saved(following)

    assert answers(project) == [("label", sample_id, n) for n, sample_id in enumerate(ids, 1)]
    assert press(following, "4") not in ids
    all_saved(following)
    assert following.evaluate("Object.keys(localStorage).filter((key) => key.includes('outbox'))") == []


def test_a_duplicated_tab_gets_a_holder_of_its_own_and_other_images(project: Project, visit: Visitors) -> None:
    visit.allowed = AWAY
    page = visit()
    page.route("**/labeler/commit", lambda route: route.abort())
    unsent = press(page, "1")
    expect(page.locator(".save")).to_have_text("Offline · 1 not saved yet")
    copied = page.evaluate("JSON.stringify(sessionStorage)")

    twin = page.context.new_page()
    twin.add_init_script(
        f"if (!sessionStorage.length) for (const [k, v] of Object.entries({copied})) sessionStorage.setItem(k, v)"
    )
    twin.goto(visit.url)
    expect(twin.locator(IMAGE)).to_be_visible()

    assert twin.get_attribute(".lab", "data-client") != page.get_attribute(".lab", "data-client")
    all_saved(twin)
    assert answers(project) == [], "the unsent answer is the first tab's to send"
    page.unroute("**/labeler/commit")
    mine = [press(page, "2") for _ in range(6)]
    twins = [press(twin, "3") for _ in range(6)]
    all_saved(page)
    all_saved(twin)
    assert len({unsent, *mine, *twins}) == 13
    assert project.store.labels() == {unsent: 1} | dict.fromkeys(mine, 2) | dict.fromkeys(twins, 3)
    assert len(project.store.events()) == 13


def test_two_annotators_in_two_browsers_get_distinct_images(project: Project, visit: Visitors) -> None:
    ann, bob = visit("Ann"), visit("Bob Ω")
    given: dict[str, list[int]] = {"Ann": [], "Bob Ω": []}
    for i in range(8):
        given["Ann"].append(press(ann, KEYS[i % 10]))
        given["Bob Ω"].append(press(bob, KEYS[i % 10]))
    all_saved(ann)
    all_saved(bob)

    assert len({*given["Ann"], *given["Bob Ω"]}) == 16
    assert {name: [e.sample_id for e in project.store.events(annotator=name)] for name in given} == given
    expect(ann.locator(".progress-text")).to_have_text("16 of 200 labeled", timeout=5000)


def test_an_image_that_somebody_else_answered_meanwhile_leaves_the_screen(project: Project, visit: Visitors) -> None:
    page = visit()
    shown, client = on_screen(page), page.get_attribute(".lab", "data-client") or ""
    project.store.release("ann", client)  # as when this machine slept for longer than a lease lasts
    project.store.record([NewEvent("bobs-label-1", "label", shown, 2, "bob", "elsewhere-1")])
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(f"{IMAGE}:not([data-sample-id='{shown}'])")).to_be_visible()
    assert on_screen(page) in project.store.held("ann", client), "what is still open is taken again"


def test_the_image_on_screen_stays_leased_as_long_as_it_is_in_sight(
    project: Project, browser: Browser, url: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.clock.install()
    page.goto(url)
    page.fill("dialog.who input", "ann")
    page.keyboard.press("Enter")
    expect(page.locator(IMAGE)).to_be_visible()
    client = page.get_attribute("[data-client]", "data-client") or ""
    store = project.store
    store.renew("ann", client, store.held("ann", client), seconds=10)
    shown = on_screen(page)
    page.clock.fast_forward(41_000)  # milliseconds; the page renews every 40 seconds
    end = time.monotonic() + 20
    while seconds_left(project, shown) < 60:
        assert time.monotonic() < end, "the lease was not renewed"
        time.sleep(0.05)
    context.close()


def seconds_left(project: Project, sample_id: int) -> float:
    with project.store._reading() as db:
        expires = db.exec_driver_sql("SELECT expires FROM leases WHERE sample_id = ?", (sample_id,)).scalar()
    return float(expires or 0) - time.time()


def test_an_answer_under_way_survives_a_lost_name_and_the_end_of_the_page(project: Project, visit: Visitors) -> None:
    visit.allowed = (*AWAY, "401")
    page = visit()
    page.context.clear_cookies()
    first = press(page, "1")
    expect(page.locator("dialog.who")).to_be_visible()
    assert answers(project) == []
    page.fill("dialog.who input", "ann")
    page.keyboard.press("Enter")
    all_saved(page)

    page.evaluate("() => { window.fetch = () => Promise.reject(new Error('net::ERR away')); }")
    second = press(page, "2")
    page.goto("about:blank")
    wait_for(lambda: len(project.store.events()) == 2)
    assert answers(project) == [("label", first, 1), ("label", second, 2)]


REFUSED_LATE = """() => {
  const { fetch } = window;
  window.fetch = async (path, ...request) => {
    const answer = await fetch(path, ...request);
    if (path.endsWith('next') && answer.status === 401) {
      await new Promise((resolve) => setTimeout(resolve, 1500));
      setTimeout(() => (window.cameLate = true), 100);
    }
    return answer;
  };
}"""


REFILL = "async () => void (await import('/labeler/ui/canvas.js')).sitting().queue.restart()"
WAITS = "async () => !(await import('/labeler/ui/canvas.js')).sitting().queue.busy"


def test_a_name_once_given_is_not_asked_for_again_by_an_answer_to_an_earlier_request(
    project: Project, visit: Visitors
) -> None:
    visit.allowed = ("401",)
    page = visit()
    page.wait_for_load_state("networkidle")
    page.evaluate(REFUSED_LATE)
    page.wait_for_function(WAITS)  # one request is under way at a time, and it is to be one without a cookie
    page.context.clear_cookies()
    page.evaluate(REFILL)  # as often as not one answer leaves enough in the queue
    press(page, "1")
    page.fill("dialog.who input", "ann")
    page.keyboard.press("Enter")
    all_saved(page)
    page.wait_for_function("window.cameLate")
    assert page.locator("dialog.who").is_hidden()
    press(page, "2")
    all_saved(page)
    assert len(answers(project)) == 2


def test_hints_stay_hidden_until_asked_for_and_enter_accepts_only_what_is_seen(
    project: Project, visit: Visitors
) -> None:
    publish_version(project, 1)
    page = visit()
    percents = page.locator(".class .percent")
    assert "".join(percents.all_inner_texts()) == ""
    assert page.locator(".class.guess").count() == 0
    assert "class 3" not in page.inner_text(".fact-why")

    first = on_screen(page)
    page.keyboard.press("Enter")  # shows the guess
    expect(page.locator(".class.guess")).to_have_attribute("data-class-id", "3")
    assert press(page, "Enter") == first  # accepts it
    assert on_screen(page) != first
    assert "".join(percents.all_inner_texts()) == "", "hidden again on the next image"

    page.keyboard.press("m")
    assert percents.all_inner_texts()[:5] == ["1%", "1%", "70%", "1%", "20%"]
    page.reload()
    expect(page.locator(".class.guess")).to_have_attribute("data-class-id", "3")  # remembered
    page.keyboard.press("m")
    assert "".join(percents.all_inner_texts()) == ""
    all_saved(page)
    (event,) = project.store.events()
    assert (event.sample_id, event.class_id, event.predicted_class_id, event.version) == (first, 3, 3, 1)
    assert event.predicted_prob == pytest.approx(0.7)


def test_a_new_ranking_replaces_all_but_the_image_on_screen_and_the_next(project: Project, visit: Visitors) -> None:
    publish_version(project, 1)
    page = visit()
    client = page.get_attribute(".lab", "data-client") or ""
    wait_for(lambda: len(project.store.held("ann", client)) >= 4)
    best = project.store.sample_ids()[::-1].tolist()
    publish_version(project, 2, ranking=best)
    wait_for(lambda: best[0] in project.store.held("ann", client))
    wait_for(lambda: len(set(project.store.held("ann", client)) - set(best[:16])) == 2)

    page.wait_for_timeout(200)
    asked = [press(page, "1") for _ in range(6)]
    all_saved(page)
    assert asked[2:] == best[:4]
    versions = [event.version for event in project.store.events()]
    assert versions == [1, 1, 2, 2, 2, 2]


def test_help_opens_with_a_question_mark_and_no_key_labels_behind_it(project: Project, visit: Visitors) -> None:
    page = visit()
    page.keyboard.press("?")
    expect(page.locator("dialog.help")).to_be_visible()
    for key in ("1", " ", "Backspace"):
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    expect(page.locator("dialog.help")).not_to_be_visible()
    for key in ("Control+1", "Alt+1", "Meta+1", "x", "F2"):
        page.keyboard.press(key)
    page.keyboard.down("2")
    page.keyboard.down("2")  # held: the browser repeats it
    page.keyboard.up("2")
    all_saved(page)
    assert [kind for kind, _, _ in answers(project)] == ["label"]


def test_after_a_mouse_click_the_keys_label_again(project: Project, visit: Visitors) -> None:
    page = visit()
    page.locator(".class").nth(3).click()
    second = press(page, " ")  # Space must skip, not press the button once more
    page.locator(".act-undo").click()
    assert on_screen(page) == second
    assert press(page, "1") == second
    page.get_by_role("tab", name="Learning").click()
    page.keyboard.press("2")  # nothing is labeled that is not in sight
    page.get_by_role("tab", name="Label", exact=True).click()
    page.wait_for_timeout(100)
    third = press(page, "3")
    all_saved(page)
    kinds = [(kind, class_id) for kind, _, class_id in answers(project)]
    assert kinds == [("label", 4), ("skip", None), ("undo", None), ("label", 1), ("label", 3)]
    assert project.store.labels()[third] == 3


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_whole_sitting_is_in_sight_without_scrolling(
    project: Project, visit: Visitors, width: int, height: int
) -> None:
    publish_version(project, 1, gold_accuracy=0.812, gold_n=1000)
    page = visit(width=width, height=height)
    press(page, "1")
    all_saved(page)
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
        width,
        height,
    ]
    accuracy = page.locator(".accuracy" if width > 1240 else ".side-accuracy")
    expect(accuracy).to_have_text("gold 81.2% (n=1,000)")
    expect(accuracy).to_be_visible()
    expect(page.locator(".person")).to_be_visible()  # once the state names who labels
    seen = (".act-flag", ".film .tile", ".save", ".trainer", ".fact-ask", ".hints", ".person", ".fact-why")
    for selector in (IMAGE, ".class >> nth=9", *seen):
        box = page.locator(selector).bounding_box()
        assert box is not None, selector
        assert box["x"] >= 0, selector
        assert box["x"] + box["width"] <= width, selector
        assert box["y"] + box["height"] <= height, selector
    image = page.locator(IMAGE)
    size = image.bounding_box()
    assert size is not None
    assert size["width"] % 8 == 0, "a small image grows by a whole factor"
    assert image.evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"


def test_the_learning_tab_shows_curves_drawings_and_counts(project: Project, visit: Visitors) -> None:
    page = visit()
    page.get_by_role("tab", name="Learning").click()
    expect(page.locator(".learn-wait")).to_contain_text("There is no model yet")  # nobody trains here
    page.get_by_role("tab", name="Label", exact=True).click()
    for _ in range(3):
        press(page, "2")
    all_saved(page)
    for version in (1, 2, 3):
        publish_version(project, version, gold_accuracy=0.3 * version, gold_n=50, log_px=-90.0, kl_z=9.5)
    page.get_by_role("tab", name="Learning").click()
    expect(page.locator(".card").nth(2)).to_contain_text("90.0%")
    expect(page.locator(".card").nth(2)).to_contain_text("n=50")
    expect(page.locator(".chart svg")).to_have_count(4)
    expect(page.locator(".drawn-row")).to_have_count(len(CLASSES))
    expect(page.locator(".gallery header")).to_contain_text("Version 3, 3 labels")
    assert page.locator(".bar-count").all_inner_texts() == ["0", "3"] + ["0"] * 8
    page.locator(".theme").click()
    assert "dark" in (page.get_attribute("body", "class") or "")


def test_the_buttons_follow_a_change_of_the_classes_without_a_reload(project: Project, visit: Visitors) -> None:
    page = visit()
    ids = [press(page, "3"), press(page, "5")]
    all_saved(page)
    project.classes.merge(["class 3"], into="class 5")
    project.classes.rename("class 1", "first")
    project.classes.key("class 2", "x")
    project.classes.reorder(["class 9"])
    expect(page.locator(".class .name")).to_have_text(
        ["class 9", "first", *(f"class {i}" for i in (2, 4, 5, 6, 7, 8, 10))]
    )
    expect(page.locator(".class[data-class-id='5'] .count")).to_have_text("2")
    assert on_screen(page) not in ids
    ids.append(press(page, "x"))
    page.locator(".film .tile").first.click()
    expect(page.locator(".stage-banner")).to_contain_text("Your answer: class 5")
    all_saved(page)
    assert project.store.labels() == {ids[0]: 5, ids[1]: 5, ids[2]: 2}


def test_an_answer_with_a_class_that_was_archived_meanwhile_is_told_and_its_image_comes_back(
    project: Project, visit: Visitors
) -> None:
    page = visit()
    old = page.evaluate("fetch('/labeler/state').then((answer) => answer.text())")
    page.route("**/labeler/state", lambda route: route.fulfill(body=old, content_type="application/json"))
    project.classes.archive(["class 3"])
    sample_id = press(page, "3")
    expect(page.locator(".lab-say")).to_contain_text("The class 'class 3' is archived. Choose another class")
    press(page, "4")  # another word does not take the place of this one, and it stays in sight
    page.wait_for_timeout(1500)
    expect(page.locator(".stage-cue.on")).to_contain_text("Its image is asked again")
    all_saved(page)
    page.keyboard.press("Backspace")
    all_saved(page)
    assert project.store.labels() == {}
    page.unroute("**/labeler/state")
    expect(page.locator(".class[data-class-id='3']")).to_have_count(0)
    press(page, "1")
    expect(page.locator(f"{IMAGE}[data-sample-id='{sample_id}']")).to_be_visible()
    press(page, "2")
    all_saved(page)
    assert project.store.labels()[sample_id] == 2
