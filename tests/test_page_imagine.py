"""The Imagine tab in a browser: back through the versions, a way by keyboard, and the blind test by R and G."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import wait_for
from pages import IGNORE_UNCLOSED, Visitors, on_screen, publish_version, served, small_project
from playwright.sync_api import Browser, Page, Route, expect
from test_sketches import model_of

from labeler import Project

pytestmark = IGNORE_UNCLOSED


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Three versions that draw cats, dogs and owls; the weights of the second are gone."""
    folder = tmp_path_factory.mktemp("imagine") / "project"
    with small_project(folder, n=60, classes=["cat", "dog", "owl"]) as p:
        for version, labels in ((1, 0), (2, 10), (3, 20)):
            publish_version(p, version, labels=labels, model=model_of(p))
        (folder / "models" / "000002" / "model.safetensors").unlink()
        yield p


@pytest.fixture(scope="module")
def url(project: Project) -> Iterator[str]:
    with served(project) as address:
        yield address


def open_tab(page: Page) -> Page:
    page.get_by_role("tab", name="Imagine").click()
    expect(page.locator(".imagine-cell")).to_have_count(12)
    expect(page.locator(".way-strip canvas").first).to_be_visible(timeout=60_000)
    return page


READ = ("willReadFrequently",)  # a test reads the pixels again and again, the page never
PIXELS = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data].join()"


def picture(page: Page, cell: int = 0) -> str:
    return str(page.locator(".imagine-cell canvas").nth(cell).evaluate(PIXELS))


def test_the_arrows_go_back_through_the_versions_and_play_comes_forward_again(visit: Visitors) -> None:
    visit.allowed = READ
    page = open_tab(visit())
    which = page.locator(".imagine-which")
    expect(which).to_contain_text("Version 3, 20 labels")
    newest, box = picture(page), page.locator(".imagine-sheet").bounding_box()
    page.keyboard.press("ArrowLeft")
    expect(which).to_contain_text("Version 2, 10 labels")
    expect(page.locator(".imagine-note")).to_contain_text("The weights of this version are gone")
    for off in (".imagine-warmth input", ".imagine-zip", ".blind-start", ".way-end select >> nth=0"):
        expect(page.locator(off)).to_be_disabled()
    expect(page.locator(".imagine-png")).to_be_enabled()
    assert picture(page) != newest
    page.get_by_label("Version").focus()
    page.keyboard.press("ArrowLeft")
    expect(which).to_contain_text("Version 1, 0 labels")
    expect(page.locator(".imagine-zip")).to_be_enabled()
    assert page.locator(".imagine-sheet").bounding_box() == box, "nothing moves"
    page.locator(".imagine").focus()
    page.keyboard.press("p")
    expect(page.locator(".imagine-play")).to_have_attribute("aria-pressed", "true")
    expect(which).to_contain_text("Version 3, 20 labels", timeout=5000)
    expect(page.locator(".imagine-play")).to_have_attribute("aria-pressed", "false")
    assert picture(page) == newest


def test_another_temperature_draws_anew_and_usual_comes_back(visit: Visitors) -> None:
    visit.allowed = READ
    page = open_tab(visit())
    usual = picture(page)
    page.get_by_label("Temperature").fill("0.4")
    expect(page.locator(".imagine-warmth output")).to_have_text("0.4")
    wait_for(lambda: picture(page) != usual)
    cool = picture(page)
    page.get_by_role("button", name="Other drawings").click()
    wait_for(lambda: picture(page) not in (usual, cool))
    page.get_by_role("button", name="As usual").click()
    wait_for(lambda: picture(page) == usual)
    expect(page.locator(".imagine-warmth output")).to_have_text("1.0")


def test_a_class_that_changes_keeps_its_drawings(project: Project, visit: Visitors) -> None:
    visit.allowed = READ
    page = open_tab(visit())
    before = picture(page, 5)
    project.classes.recolour("dog", "#123456")
    name = page.locator(".imagine-name").nth(1)
    expect(name).to_have_css("border-left-color", "rgb(18, 52, 86)")
    wait_for(lambda: picture(page, 5) == before)


def test_a_test_that_the_server_forgot_says_so(project: Project, visit: Visitors) -> None:
    visit.allowed = ("status of 404", "status of 503")
    page = open_tab(visit("forgotten"))
    page.locator(".blind-begin select").select_option("10")
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#lab-blind-title")).to_have_text("Real or generated? 1 of 10")
    gone = {"detail": "This test is not known (any more). Begin another one."}
    answers = [(503, {"detail": "Away."}), (404, gone)]  # one route for both: between two, a request can slip through

    def refuse(route: Route) -> None:
        status, said = answers.pop(0)
        route.fulfill(status=status, json=said)

    page.route("**/labeler/blind/*", refuse)
    for i in range(10):
        expect(page.locator("#lab-blind-title")).to_have_text(f"Real or generated? {i + 1} of 10")
        page.keyboard.press("g")
    expect(page.locator(".blind-say")).to_have_text("Away. Answer the last image once more.")
    page.keyboard.press("r")
    expect(page.locator(".blind-note")).to_have_text(gone["detail"])
    expect(page.locator(".blind-dialog")).to_be_hidden()
    assert "forgotten" not in {test.annotator for test in project.store.blind_tests()}


def test_two_drawings_chosen_by_keyboard_are_the_ends_of_a_way(project: Project, visit: Visitors) -> None:
    page = open_tab(visit())
    strip = page.locator(".way-strip")
    expect(strip).to_have_attribute("aria-label", "10 images from cat to dog")
    page.locator(".imagine-cell").first.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter", "ArrowDown", "End", "Space"):
        page.keyboard.press(key)
    expect(strip).to_have_attribute("aria-label", "10 images from dog, drawing 2 to owl, drawing 4")
    assert page.locator(".imagine-cell[data-end=From]").get_attribute("aria-label") == "dog, drawing 2"
    page.locator(".way-steps").select_option("12")
    expect(page.locator(".way-strip canvas")).to_have_count(12)
    sample = project.store.samples("pool")[4].id
    page.get_by_label("To: an image by its number").fill(str(sample))
    page.keyboard.press("Enter")
    expect(strip).to_have_attribute("aria-label", f"12 images from dog, drawing 2 to image {sample}")
    page.get_by_label("From: an image by its number").fill("999")
    page.keyboard.press("Enter")
    expect(page.locator(".way-note")).to_have_text("There is no image 999 in this project.")
    visit.complaints.clear()  # the browser logs the 404


def test_a_blind_test_by_keys_is_kept_and_labels_nothing(project: Project, visit: Visitors) -> None:
    page = visit("tester")
    asked = on_screen(page)
    open_tab(page)
    page.locator(".blind-begin select").select_option("10")
    page.get_by_role("button", name="Begin").click()
    title = page.locator("#lab-blind-title")
    expect(title).to_have_text("Real or generated? 1 of 10")
    page.keyboard.press("Enter")  # presses nothing: a test begins with no button in focus
    page.keyboard.press("g")
    expect(title).to_have_text("Real or generated? 2 of 10")
    page.keyboard.press("Backspace")
    expect(title).to_have_text("Real or generated? 1 of 10")
    assert "told right" not in page.locator(".blind-dialog").inner_text()
    for i in range(10):
        expect(title).to_have_text(f"Real or generated? {i + 1} of 10")
        page.keyboard.press("r")
    expect(title).to_have_text("5 of 10 told right")
    result = page.locator(".blind-result")
    expect(result).to_contain_text("50.0%, 95% interval 23.7% to 76.3%, n=10")
    expect(result).to_contain_text("5 of 5 drawings passed for real")
    expect(page.locator(".blind-group").first.locator("img")).to_have_count(5)
    page.keyboard.press("Escape")
    expect(page.locator(".blind-list li").first).to_contain_text("version 3, 20 labels; 1 test by 1 person")
    [kept] = [test for test in project.store.blind_tests() if test.annotator == "tester"]
    assert [answer.said_real for answer in kept.answers] == [True] * 10
    assert project.store.labels() == {}
    page.get_by_role("tab", name="Label", exact=True).click()
    assert on_screen(page) == asked


def test_a_button_of_the_blind_test_held_with_enter_answers_one_image(visit: Visitors) -> None:
    page = visit("holder")
    begun(page, "")
    page.locator("[data-said=real]").focus()
    for _ in range(4):
        page.keyboard.down("Enter")  # the browser repeats it
        page.wait_for_timeout(50)
    page.keyboard.up("Enter")
    expect(page.locator("#lab-blind-title")).to_have_text("Real or generated? 2 of 10")
    page.keyboard.press("Escape")


def begun(page: Page, answers: str) -> None:
    """A test of ten, of which some are answered by these keys."""
    open_tab(page)
    page.locator(".blind-begin select").select_option("10")
    page.get_by_role("button", name="Begin").click()
    for i, key in enumerate(answers, 1):
        expect(page.locator("#lab-blind-title")).to_have_text(f"Real or generated? {i} of 10")
        page.keyboard.press(key)
    expect(page.locator("#lab-blind-title")).to_have_text(f"Real or generated? {len(answers) + 1} of 10")


def test_an_unfinished_test_goes_on_after_escape_and_a_reload_or_starts_over(project: Project, visit: Visitors) -> None:
    page = visit("interrupted")
    begun(page, "gr")
    image = page.locator(".blind-image img")
    third = image.get_attribute("src")
    page.keyboard.press("Escape")
    go_on = page.get_by_role("button", name="Go on (3 of 10)")
    go_on.click()
    expect(image).to_have_attribute("src", third or "")
    page.reload()
    open_tab(page)
    expect(go_on).to_have_attribute("title", "A test of version 3")
    page.locator(".imagine").focus()
    page.keyboard.press("ArrowLeft")  # the weights of version 2 are gone: only what was begun goes on
    expect(page.get_by_role("button", name="Start over")).to_be_disabled()
    go_on.click()
    expect(image).to_have_attribute("src", third or "")
    for i in range(3, 11):
        expect(page.locator("#lab-blind-title")).to_have_text(f"Real or generated? {i} of 10")
        page.keyboard.press("g")
    expect(page.locator("#lab-blind-title")).to_contain_text("told right")
    [kept] = [test for test in project.store.blind_tests() if test.annotator == "interrupted"]
    assert [answer.said_real for answer in kept.answers] == [False, True] + 8 * [False]
    page.keyboard.press("Escape")
    page.locator(".imagine").focus()
    page.keyboard.press("ArrowRight")
    begun(page, "g")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Start over").click()
    expect(page.locator("#lab-blind-title")).to_have_text("Real or generated? 1 of 10")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Go on (1 of 10)")).to_be_visible()


def test_an_unfinished_test_that_the_server_forgot_or_of_another_project_is_not_gone_on_with(visit: Visitors) -> None:
    visit.allowed = ("status of 404",)
    page = visit("moved")
    begun(page, "g")
    move = "([from, to]) => { sessionStorage[to] = sessionStorage[from]; delete sessionStorage[from]; }"
    mine = page.evaluate("Object.keys(sessionStorage).find((name) => name.endsWith('.blind'))")
    other = "labeler.another.blind"
    begin = page.get_by_role("button", name="Begin")
    page.evaluate(move, [mine, other])
    page.reload()
    expect(open_tab(page).locator(".blind-start")).to_have_text("Begin")
    page.evaluate(move, [other, mine])
    page.route("**/labeler/blind/*", lambda route: route.fulfill(status=404, json={"detail": "Not known."}))
    page.reload()
    open_tab(page)
    expect(page.locator(".blind-note")).to_have_text("Not known.")
    expect(begin).to_be_enabled()
    assert page.evaluate("name => sessionStorage[name] === undefined", mine)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_and_it_fits_a_telephone(browser: Browser, url: str, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    page.fill("dialog.who input", "phone")
    page.keyboard.press("Enter")
    open_tab(page)
    found = [page.evaluate("document.documentElement.scrollWidth")]
    page.wait_for_timeout(250)
    found += [v["id"] for v in Axe().run(page).response["violations"]]
    page.get_by_role("button", name="Begin").click()
    expect(page.locator(".blind-image img")).to_be_visible()
    page.wait_for_timeout(250)
    found += [v["id"] for v in Axe().run(page).response["violations"]]
    context.close()
    assert found == [390]


def test_without_a_model_it_says_what_comes(tmp_path: Path, browser: Browser) -> None:
    with small_project(tmp_path / "new", n=12) as project, served(project) as address:
        visit = Visitors(browser, address)
        page = visit()
        page.get_by_role("tab", name="Imagine").click()
        expect(page.locator(".imagine-wait")).to_contain_text("The first drawings come with the first model")
        expect(page.locator(".imagine-wait")).to_contain_text("labeler train")
        publish_version(project, 1, labels=0)
        expect(page.locator(".imagine-cell").first).to_be_visible(timeout=10_000)
        visit.close()
