"""The page for everybody: axe-core finds nothing wrong on any tab or dialog, and the keyboard reaches all of it."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import IGNORE_UNCLOSED, IMAGE, Visitors, all_saved, on_screen, press, publish_version, served, small_project
from playwright.sync_api import Browser, Page, expect

from labeler import Project
from labeler.control import change

pytestmark = IGNORE_UNCLOSED


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with small_project(tmp_path_factory.mktemp("access") / "project", n=300, side=28, measure_share=0.05) as p:
        change(p.store, {"measure_share": 0})
        p.loop("maker").answer_many({int(i): "class 3" for i in p.store.sample_ids("measure")})
        changes = [[0, 1, 1, 40, 300, 0, 2, 1.0], [1, 15, 3, 12, 300, 25, 4, 2.0]]
        measures = {"gold_accuracy": 0.812, "gold_n": 1000, "log_px": -90.0, "kl_z": 9.5, "losses": {"supervised": 1.2}}
        publish_version(p, 1, labels=4, changes=changes, **measures)
        p.loop("before").answer(min(p.store.sample_ids("pool")), 0)
        p.classes.set_guideline("class 1", "What belongs here.", [int(min(p.store.sample_ids("pool")))])
        p.classes.add(["class 11"])
        p.classes.archive(["class 11"])
        yield p


@pytest.fixture(scope="module")
def url(project: Project) -> Iterator[str]:
    with served(project) as address:
        yield address


def complaints(page: Page, where: str) -> list[str]:
    """What axe-core finds in the page as it stands, once nothing fades any more."""
    expect(page.locator(".stage-cue.on")).to_have_count(0)
    page.wait_for_timeout(250)
    found = Axe().run(page).response["violations"]
    return [f"{where}: {v['impact']} {v['id']} {[n['target'] for n in v['nodes'][:3]]}" for v in found]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing_wrong_on_any_tab_or_dialog(browser: Browser, url: str, scheme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    expect(page.locator("dialog.who")).to_be_visible()
    found = complaints(page, "name")
    page.fill("dialog.who input", f"{scheme} {width}")
    page.keyboard.press("Enter")
    expect(page.locator(IMAGE)).to_be_visible()
    page.keyboard.press("1")
    found += complaints(page, "labeling")
    page.keyboard.press("m")
    found += complaints(page, "hints")
    page.keyboard.press("ArrowLeft")
    found += complaints(page, "correcting")
    page.keyboard.press("g")
    expect(page.locator(".guide-part")).to_be_visible()
    found += complaints(page, "guideline")
    page.locator(".guide .close").click()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("class")
    found += complaints(page, "finding a class")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    found += complaints(page, "help")
    page.locator(".open-remap").click()
    found += complaints(page, "keys")
    page.locator(".remap .close").click()
    page.keyboard.press("q")
    found += complaints(page, "what is asked next")
    page.get_by_label("Order").select_option("1")
    page.locator(".wishes .close").click()
    found += complaints(page, "newest first")
    page.locator(".wishes-banner .lift").click()
    page.locator(".open-goal").click()
    found += complaints(page, "goal")
    page.get_by_label("How many").fill("1")
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    expect(page.locator(".goal-note")).to_be_visible()
    page.locator(".open-light").click()
    found += complaints(page, "light, and the goal reached")
    page.get_by_role("tab", name="Grid").click()
    expect(page.locator(".grid-class").first).to_be_visible()
    page.wait_for_timeout(500)
    found += complaints(page, "grid")
    page.get_by_role("tab", name="Learning").click()
    expect(page.locator(".chart svg").first).to_be_visible()
    expect(page.locator(".confusion button").first).to_be_visible()
    found += complaints(page, "learning")
    page.get_by_role("tab", name="Classes").click()
    expect(page.locator(".one-tiles-note")).not_to_be_empty()
    page.locator(".manage-gone summary").click()
    found += complaints(page, "classes")
    context.close()
    assert found == []


FOCUSED = """() => {
  const { activeElement: element } = document;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const name = element.getAttribute('aria-label') || element.textContent.trim() || element.title;
  return [element.className || element.tagName, Boolean(name), outlineStyle !== 'none' && parseFloat(outlineWidth) > 0];
}"""


def test_tab_reaches_every_control_which_has_a_name_and_shows_its_focus(browser: Browser, url: str) -> None:
    visit = Visitors(browser, url)
    page = visit("tabber")
    page.keyboard.press("1")
    all_saved(page)
    reached: dict[str, tuple[bool, bool]] = {}
    for _ in range(60):
        page.keyboard.press("Tab")
        name, named, outlined = page.evaluate(FOCUSED)
        reached.setdefault(name, (named, outlined))
    expected = {"person", "theme", "open-help", "open-goal", "tile", "open-find", "hints", "class", "act act-skip"}
    expected |= {"nearer", "farther", "factor", "open-light", "open-guide", "fact-ask open-wishes"}
    assert expected <= set(reached)
    assert {name: seen for name, seen in reached.items() if name in expected and seen != (True, True)} == {}
    visit.close()


def test_a_button_held_with_enter_is_pressed_once(project: Project, browser: Browser, url: str) -> None:
    visit = Visitors(browser, url)
    page = visit("holder")
    page.locator(".class").first.focus()
    shown = on_screen(page)
    for _ in range(4):
        page.keyboard.down("Enter")  # the browser repeats it
    page.keyboard.up("Enter")
    all_saved(page)
    visit.close()
    assert [event.sample_id for event in project.store.events(annotator="holder")] == [shown]


def test_nothing_takes_the_focus_from_somebody_who_types(project: Project, browser: Browser, url: str) -> None:
    """A new version, a goal reached, a late answer: the field keeps the focus and what was typed."""
    visit = Visitors(browser, url)
    page = visit("typist")
    page.keyboard.press("/")
    page.keyboard.type("clas")
    publish_version(project, 2, gold_accuracy=0.9, gold_n=1000)
    expect(page.locator(".trainer")).to_contain_text("v2")
    page.keyboard.type("s 4")
    expect(page.locator(".find input")).to_have_value("class 4")
    expect(page.locator(".find input")).to_be_focused()
    page.keyboard.press("Escape")
    visit.close()


def test_a_reload_and_the_back_button_keep_the_place(browser: Browser, url: str) -> None:
    visit = Visitors(browser, url)
    page = visit("mover")
    shown = on_screen(page)
    page.get_by_role("tab", name="Learning").click()
    page.reload()
    expect(page.locator(".learn-cards")).to_be_visible()
    expect(page.locator(IMAGE)).to_be_hidden()
    page.go_back()
    expect(page.locator(IMAGE)).to_be_visible()
    assert press(page, "1") == shown
    page.go_forward()
    expect(page.locator(".learn-cards")).to_be_visible()
    page.keyboard.press("2")  # nothing is labeled that is not in sight
    page.go_back()
    all_saved(page)
    visit.close()
