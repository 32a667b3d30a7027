"""The Classes tab and the guideline beside the canvas, in a real browser."""

import re
from collections.abc import Iterator

import pytest
from conftest import wait_for
from pages import IGNORE_UNCLOSED, IMAGE, Visitors, all_saved, on_screen, press, publish_version, served, small_project
from playwright.sync_api import Browser, Page, Route, expect

from labeler import Project

pytestmark = IGNORE_UNCLOSED
NAMES = ["cat", "dog", "owl", "fox", "hen", "bee"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """130 images; 13 measure and come when the share says so. Of the others 30 are labeled, five of each class."""
    folder = tmp_path_factory.mktemp("classes") / "project"
    with small_project(folder, n=130, classes=NAMES, measure_share=0.1) as p:
        p.store.set_setting("measure_share", 0.0)
        loop, pool = p.loop("ann"), p.store.sample_ids("pool").tolist()
        for i, sample_id in enumerate(pool[:30]):
            loop.answer(sample_id, i % 6)
        publish_version(p, 1)
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


def open_tab(page: Page) -> Page:
    page.get_by_role("tab", name="Classes").click()
    expect(page.locator(".row").first).to_be_visible()
    return page


def names(page: Page) -> list[str]:
    return page.locator(".row-name").all_inner_texts()


def row(page: Page, name: str) -> str:
    return f".row:has(.row-name:text-is('{name}'))"


def said(page: Page) -> str:
    return page.locator(".manage-say span").inner_text()


def test_a_class_is_added_renamed_keyed_and_moved_with_the_keyboard_and_open_pages_follow(
    project: Project, visit: Visitors
) -> None:
    visit.allowed = ("422",)
    other = visit("bob")
    image = on_screen(other)
    page = open_tab(visit("rita"))
    page.get_by_label("Name of a new class").fill("gnu")
    page.keyboard.press("Enter")
    expect(page.locator(".row-name").last).to_have_text("gnu")
    expect(page.get_by_label("Name of a new class")).to_be_focused()

    page.locator(f"{row(page, 'hen')} .row-name").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("chicken")
    page.keyboard.press("Escape")
    assert "hen" in names(page)
    page.keyboard.press("F2")
    page.keyboard.type("chicken")
    page.keyboard.press("Enter")
    expect(page.locator(f"{row(page, 'chicken')} .row-name")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.keyboard.press("c")
    expect(page.locator(f"{row(page, 'chicken')} .row-key")).to_have_text("C")
    page.keyboard.press("Enter")
    page.keyboard.press("s")  # an action of the page
    expect(page.locator(".manage-say")).to_contain_text("'s' cannot be the key of a class")
    expect(page.locator(f"{row(page, 'chicken')} .row-key")).to_have_text("C")
    page.keyboard.press("Alt+ArrowUp")
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator(".row-name")).to_have_text(["cat", "dog", "chicken", "owl", "fox", "bee", "gnu"])
    expect(page.locator(f"{row(page, 'chicken')} .row-key")).to_be_focused()
    wait_for(lambda: [one.name for one in project.store.classes()] == names(page))
    page.locator(f"{row(page, 'cat')} .row-colour").fill("#123456")
    wait_for(lambda: project.store.classes()[0].colour == "#123456")

    expect(other.locator(".class .name")).to_have_text(["cat", "dog", "chicken", "owl", "fox", "bee", "gnu"])
    assert on_screen(other) == image
    assert press(other, "c") == image
    all_saved(other)
    assert project.store.labels()[image] == 5
    page.keyboard.press("Home")
    page.locator(f"{row(page, 'chicken')} .row-name").dblclick()
    page.keyboard.type("hen")
    page.keyboard.press("Enter")
    wait_for(lambda: project.store.classes()[2].name == "hen")
    page.locator(".deal-keys").click()
    wait_for(lambda: [one.key for one in project.store.classes()] == list("1234567"))


def test_an_answer_in_the_middle_of_a_move_does_not_stop_it(project: Project, visit: Visitors) -> None:
    page = open_tab(visit("rita"))
    before = names(page)
    late: list[Route] = []
    page.route("**/labeler/classes", lambda route: late.append(route), times=1)
    with page.expect_request("**/labeler/classes"):
        page.locator(".row-colour").first.fill("#654321")
    page.locator(f"{row(page, before[4])} .row-name").focus()
    page.keyboard.press("Alt+ArrowUp")
    late[0].continue_()
    expect(page.locator(".manage-say")).to_contain_text("has another colour")
    page.keyboard.press("Alt+ArrowUp")
    moved = [*before[:2], before[4], *before[2:4], *before[5:]]
    expect(page.locator(".row-name")).to_have_text(moved)
    wait_for(lambda: [one.name for one in project.store.classes()] == moved)


def test_a_row_is_dragged_to_another_place(project: Project, visit: Visitors) -> None:
    page = open_tab(visit("rita"))
    before = names(page)
    grip, target = page.locator(".row .grip").nth(3).bounding_box(), page.locator(".row").first.bounding_box()
    assert grip is not None
    assert target is not None
    page.mouse.move(grip["x"] + 8, grip["y"] + 20)
    page.mouse.down()
    page.mouse.move(grip["x"] + 8, grip["y"] - 30)
    page.mouse.move(grip["x"] + 8, target["y"] + 4)
    page.mouse.up()
    wait_for(lambda: [one.name for one in project.store.classes()] == [before[3], *before[:3], *before[4:]])
    expect(page.locator(".row-name")).to_have_text([before[3], *before[:3], *before[4:]])


def test_a_merge_says_what_it_will_do_and_comes_apart_again_as_an_archived_class_does(
    project: Project, visit: Visitors
) -> None:
    page = open_tab(visit("rita"))
    ids = {one.name: one.id for one in project.store.classes()}
    before = project.store.labels()
    page.locator(f"{row(page, 'dog')} .row-name").click()
    merge = page.locator(".one-merge")
    expect(merge.get_by_role("button")).to_be_disabled()
    merge.locator("select").select_option(label="cat")
    expect(merge).to_contain_text("Its 5 labels count as cat from now on, which then has 10. No label is rewritten")
    merge.get_by_role("button").click()
    expect(page.locator(f"{row(page, 'cat')} .row-labels")).to_have_text("10")
    expect(page.locator(f"{row(page, 'cat')} .row-name")).to_be_focused()
    assert {before[i] for i, c in project.store.labels().items() if c == ids["cat"]} == {ids["cat"], ids["dog"]}
    page.locator(f"{row(page, 'owl')} .row-name").click()
    expect(page.locator(".one-archive")).to_contain_text("Its 5 labels are set aside")
    page.locator(".archive").click()
    expect(page.locator(".manage-gone summary")).to_have_text("Archived and merged (2)")
    page.locator(".manage-gone summary").click()
    expect(page.locator(".manage-gone li", has_text="dog")).to_contain_text("merged into cat · 5 labels")
    for name in ("dog", "owl"):
        page.get_by_role("button", name=f"Bring back {name}").click()
        expect(page.locator(row(page, name))).to_be_visible()
    expect(page.locator(".manage-gone")).to_be_hidden()
    assert project.store.labels() == before


def test_a_guideline_is_saved_by_leaving_it_and_never_over_what_somebody_else_wrote(
    project: Project, visit: Visitors
) -> None:
    page = open_tab(visit("rita"))
    page.locator(f"{row(page, 'fox')} .row-name").click()
    field = page.get_by_role("textbox", name="Guideline")
    field.fill("Red.\n\nWith a tail.  ")
    expect(page.locator(".one-saved")).to_contain_text("Not saved yet")
    page.locator(f"{row(page, 'bee')} .row-name").click()
    fox = next(one.id for one in project.store.classes() if one.name == "fox")
    wait_for(lambda: project.store.guideline(fox).text == "Red.\n\nWith a tail.")
    assert len(project.store.guideline_events()) == 1, "leaving the field and choosing another class save it once"
    expect(field).to_have_value("")
    page.locator(f"{row(page, 'fox')} .row-name").click()
    expect(field).to_have_value("Red.\n\nWith a tail.")
    visit.allowed = ("409",)
    field.fill("Mine.")
    project.store.set_guideline(fox, "Theirs.", annotator="bob")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".manage-say")).to_contain_text("bob changed this guideline meanwhile")
    expect(field).to_have_value("Mine.")
    assert project.store.guideline(fox).text == "Theirs."
    page.wait_for_load_state("networkidle")
    # Pressed until it holds: while the other's text is still being fetched the key saves nothing.
    wait_for(lambda: page.keyboard.press("Control+Enter") or project.store.guideline(fox).text == "Mine.", every=0.5)


def test_a_guideline_that_could_not_be_saved_stays_typed_and_is_never_over_what_somebody_else_wrote(
    project: Project, visit: Visitors
) -> None:
    visit.allowed = ("409", "503")
    page = open_tab(visit("rita"))
    field = page.get_by_role("textbox", name="Guideline")
    hen = next(one.id for one in project.store.classes() if one.name == "hen")
    page.locator(f"{row(page, 'hen')} .row-name").click()
    field.fill("Lays eggs.")
    away(page)
    page.locator(f"{row(page, 'bee')} .row-name").click()
    expect(page.locator(".manage-say")).to_contain_text("Away.")
    expect(field).to_have_value("")
    page.locator(f"{row(page, 'hen')} .row-name").click()
    expect(field).to_have_value("Lays eggs.")
    expect(page.locator(".one-saved")).to_contain_text("Not saved yet")
    project.store.set_guideline(hen, "Theirs.", annotator="bob")
    page.unroute("**/labeler/classes")
    page.wait_for_timeout(2000)  # the page has heard of bob's
    field.press("Control+Enter")
    expect(page.locator(".manage-say")).to_contain_text("bob changed this guideline meanwhile")
    assert project.store.guideline(hen).text == "Theirs."
    expect(field).to_have_value("Lays eggs.")
    wait_for(lambda: field.press("Control+Enter") or project.store.guideline(hen).text == "Lays eggs.", every=0.5)
    expect(page.locator(".one-saved")).to_have_text("Saved")


def away(page: Page) -> None:
    """Changes do not reach the server."""
    answer = {"status": 503, "json": {"detail": "Away."}}
    page.route(
        "**/labeler/classes",
        lambda route: route.fulfill(**answer) if route.request.method == "POST" else route.fallback(),
    )


def test_marked_images_become_examples_or_a_class_of_their_own(project: Project, visit: Visitors) -> None:
    page = open_tab(visit("rita"))
    ids = {one.name: one.id for one in project.store.classes()}
    page.locator(f"{row(page, 'bee')} .row-name").click()
    tiles = page.locator(".one-tile")
    expect(tiles).to_have_count(5)
    page.locator(".one-tiles").focus()
    for key in ("Space", "ArrowRight", "Space"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Use 2 as examples").click()
    expect(page.locator(".one-examples li")).to_have_count(2)
    examples = project.store.guideline(ids["bee"]).examples
    assert len(examples) == 2
    assert {project.store.labels()[i] for i in examples} == {ids["bee"]}
    page.get_by_role("button", name=re.compile("away from the examples")).first.click()
    expect(page.locator(".one-examples li")).to_have_count(1)

    before = project.store.labels()
    tiles.nth(0).click()
    tiles.nth(1).click()
    page.get_by_label("Name of the class to split off").fill("wasp")
    page.keyboard.press("Enter")
    expect(page.locator(".manage-say")).to_contain_text("2 images that were bee are wasp now.")
    wasp = next(one.id for one in project.store.classes() if one.name == "wasp")
    assert sum(class_id == wasp for class_id in project.store.labels().values()) == 2
    page.get_by_role("button", name="Take back").click()
    wait_for(lambda: project.store.labels() == before)
    expect(page.locator(row(page, "wasp"))).to_have_count(0)


GUIDE = ".guide-part h3"


def test_the_guideline_of_the_class_pointed_at_stands_beside_the_image(project: Project, visit: Visitors) -> None:
    ids = {one.name: one.id for one in project.store.classes()}
    cats = [i for i, class_id in project.store.labels().items() if class_id == ids["cat"]]
    project.store.set_guideline(ids["cat"], "Whiskers.\n<b>Purrs</b>.", cats[:2])
    page = visit("cy")
    page.keyboard.press("g")
    expect(page.locator(".guide-none")).to_contain_text("Point at a class")
    page.locator(f".class[data-class-id='{ids['cat']}']").hover()
    expect(page.locator(GUIDE)).to_have_text("cat")
    expect(page.locator(".guide-text")).to_have_text("Whiskers.\n<b>Purrs</b>.")
    expect(page.locator(".guide-examples img")).to_have_count(2)
    page.mouse.move(300, 300)
    expect(page.locator(GUIDE)).to_have_text("cat")
    page.locator(f".class[data-class-id='{ids['dog']}']").focus()
    expect(page.locator(GUIDE)).to_have_text("dog")
    expect(page.locator(".guide-none")).to_contain_text("No guideline yet")
    page.locator(".lab").focus()
    page.get_by_label("Guideline of which class").select_option(label="cat")
    labeled = press(page, project.store.classes()[0].key)
    all_saved(page)
    first = project.store.classes()[0]
    assert project.store.labels()[labeled] == first.id, "the keys label again"

    page.keyboard.press("ArrowLeft")
    expect(page.locator(GUIDE)).to_have_text(first.name)
    page.keyboard.press("e")
    wait_for(lambda: labeled in project.store.guideline(first.id).examples)
    expect(page.locator(".stage-cue")).to_contain_text(f"An example of {first.name}")
    example = page.locator(f".guide-examples img[src*='/{labeled}?']")
    page.wait_for_timeout(1800)  # the poll has told the page
    assert example.count() == 0, "never the image on screen"
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    expect(page.locator(".stage-cue")).to_contain_text("An example is an image you labeled")
    page.locator(f".class[data-class-id='{first.id}']").hover()
    expect(example).to_have_count(1)
    page.keyboard.press("Backspace")
    all_saved(page)
    wait_for(lambda: labeled not in project.store.guideline(first.id).shown)
    expect(example).to_have_count(0)
    page.reload()
    expect(page.locator(".guide")).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator(".guide")).to_be_hidden()


def test_what_the_model_hesitates_between_is_shown_with_hints_alone_and_never_on_a_measuring_image(
    project: Project, visit: Visitors
) -> None:
    in_order = [one.name for one in project.store.classes()]
    known = {one.id: one.name for one in project.store.classes(archived=True)}
    published = project.published()
    assert published is not None
    likely = [known[published.class_ids[2]], known[published.class_ids[4]]]
    page = visit("dan")
    page.keyboard.press("g")
    expect(page.locator(IMAGE)).to_be_visible()
    expect(page.locator(GUIDE)).to_have_count(0)
    page.keyboard.press("m")
    expect(page.locator(GUIDE)).to_have_text(likely)
    project.store.set_setting("measure_share", 1.0)
    page = visit("eli")
    page.keyboard.press("g")
    page.keyboard.press("m")
    assert project.store.sample(on_screen(page)).split == "measure"
    expect(page.locator(".stage-cue")).to_contain_text("this image measures accuracy")
    expect(page.locator(GUIDE)).to_have_count(0)
    project.store.set_setting("measure_share", 0.0)
    page.locator(".class").first.focus()
    expect(page.locator(GUIDE)).to_have_text(in_order[0])


def test_on_a_phone_the_guideline_stands_between_image_and_answers_and_the_tab_fits(
    project: Project, browser: Browser, url: str
) -> None:
    visit = Visitors(browser, url)
    page = visit.newcomer("eve", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    expect(page.locator(".actions")).to_be_visible()
    page.locator(".open-guide").tap()
    boxes = [page.locator(place).bounding_box() for place in (".stage-view", ".guide", ".classes", ".actions")]
    ends = [box["y"] + box["height"] for box in boxes if box]
    begins = [box["y"] for box in boxes if box]
    assert all(end <= begin for end, begin in zip(ends[:3], begins[1:], strict=True)), "none covers another"
    assert ends[3] <= 844
    assert boxes[0] is not None
    assert boxes[0]["height"] > 120
    page.get_by_label("Guideline of which class").select_option(label="cat")
    expect(page.locator(GUIDE)).to_have_text("cat")
    page.locator(".guide .close").tap()
    open_tab(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    visit.close()
