"""Signing in, in a real browser: the way in, and what becomes of answers when a sign-in ends in mid-work."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from pages import A_WHILE_LATER, IGNORE_UNCLOSED, IMAGE, Visitors, all_saved, press, served, small_project
from playwright.sync_api import Browser, Page, expect

from labeler import Project
from labeler.accounts import SignIns, hashed
from storage import NewEvent

pytestmark = IGNORE_UNCLOSED
PASSWORD, NEW_PASSWORD = "correct horse battery", "staple correct horse"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with small_project(tmp_path / "project", n=60) as p:
        p.store.add_account("ann", "annotator", hashed(PASSWORD, "ann"))
        p.store.add_account("ada", "admin", hashed(PASSWORD, "ada"))
        yield p


@pytest.fixture
def visit(project: Project, browser: Browser) -> Iterator[Visitors]:
    with served(project, sign_ins=SignIns(project.store)) as url:
        visitors = Visitors(browser, url)
        visitors.allowed = ("status of 401", "status of 403")
        yield visitors
        visitors.close()


def at_the_door(visit: Visitors) -> Page:
    context = visit.browser.new_context(viewport={"width": 1440, "height": 900})
    visit.contexts.append(context)
    context.on("page", visit.watch)
    page = context.new_page()
    page.goto(visit.url)
    return page


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    expect(page.get_by_role("button", name="Sign in")).to_be_enabled()  # its script is there
    page.fill("body.signin [name=name]", name)
    page.fill("body.signin [name=password]", password)
    page.keyboard.press("Enter")


def labels_of(project: Project) -> list[tuple[str, int]]:
    return [(e.annotator, e.sample_id) for e in project.store.events() if e.kind == "label"]


def test_in_with_the_password_and_out_again(project: Project, visit: Visitors) -> None:
    page = at_the_door(visit)
    expect(page).to_have_url(f"{visit.url}/labeler/signin")
    sign_in(page, "ann", "a wrong password")
    expect(page.get_by_role("alert")).to_have_text("Name or password are not right.")
    sign_in(page, "ann")
    expect(page.locator(IMAGE)).to_be_visible()
    labeled = [press(page, key) for key in "123"]
    all_saved(page)
    assert labels_of(project) == [("ann", sample_id) for sample_id in labeled]
    page.keyboard.press("q")
    expect(page.get_by_label("Asked by")).to_be_disabled()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Classes").click()
    expect(page.locator(".row-colour").first).to_be_disabled()
    expect(page.get_by_role("textbox", name="Guideline")).not_to_be_editable()
    expect(page.locator(".manage-reader")).to_have_text("Reviewers and admins change them.")
    for selector in (".manage-add", ".deal-keys", ".one-images", ".one-merge", ".one-archive"):
        expect(page.locator(selector)).to_be_hidden()

    page.click(".top .person")
    expect(page).to_have_url(f"{visit.url}/labeler/signin")
    page.goto(visit.url)
    expect(page).to_have_url(f"{visit.url}/labeler/signin")
    sign_in(page, "ada")
    expect(page.locator(".top .person")).to_have_text("ada")
    expect(page.locator("#lab-tabs, .lab").locator("select").first).to_be_enabled()


def test_answers_given_after_a_sign_in_ended_are_saved_once_the_person_is_back(
    project: Project, visit: Visitors
) -> None:
    page = at_the_door(visit)
    sign_in(page, "ann")
    expect(page.locator(IMAGE)).to_be_visible()
    labeled = [press(page, "1")]
    all_saved(page)
    project.store.change_account("ann", password_hash=hashed(NEW_PASSWORD, "ann"))
    labeled.append(press(page, "2"))
    dialog = page.locator("dialog.again")
    expect(dialog).to_be_visible()
    expect(dialog.locator(".kept")).to_contain_text("1 answer waits in this tab")
    assert len(labels_of(project)) == 1
    dialog.locator("[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("Name or password are not right.")
    dialog.locator("[name=password]").fill(NEW_PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    all_saved(page)
    labeled.append(press(page, "3"))
    all_saved(page)
    assert labels_of(project) == [("ann", sample_id) for sample_id in labeled]


def test_an_image_that_somebody_else_answered_meanwhile_stays_theirs_and_the_tab_goes_on(
    project: Project, visit: Visitors
) -> None:
    page = at_the_door(visit)
    sign_in(page, "ann")
    expect(page.locator(IMAGE)).to_be_visible()
    taken = int(page.locator(IMAGE).get_attribute("data-sample-id") or 0)
    project.store.record([NewEvent("bobs-answer", "label", taken, 7, "bob", "tab")])
    assert press(page, "1") == taken
    expect(page.locator(".lab-say")).to_contain_text("Somebody else has decided this image")
    all_saved(page)
    expect(page.locator(f".film [data-sample-id='{taken}']")).to_have_count(0)
    labeled = [press(page, key) for key in "23"]
    all_saved(page)
    assert taken not in labeled
    assert labels_of(project) == [("bob", taken), *(("ann", sample_id) for sample_id in labeled)]
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")  # no third answer of hers is there to be taken back
    expect(page.locator(".stage")).to_contain_text("Nothing to undo")
    all_saved(page)
    assert set(project.store.labels()) == {taken}


def test_a_sign_in_in_another_tab_ends_the_question_for_the_password(project: Project, visit: Visitors) -> None:
    page = at_the_door(visit)
    sign_in(page, "ann")
    expect(page.locator(IMAGE)).to_be_visible()
    page.context.clear_cookies()
    labeled = press(page, "2")
    dialog = page.locator("dialog.again")
    expect(dialog).to_be_visible()
    page.keyboard.press("Enter")  # of a hand that accepts guesses: no attempt with an empty password
    page.wait_for_timeout(300)
    expect(dialog.get_by_role("alert")).to_be_empty()

    other = page.context.new_page()
    other.goto(visit.url)
    sign_in(other, "ada")
    expect(dialog.get_by_role("alert")).to_have_text(
        "ada is signed in now, in another tab. What you type here signs ann in instead."
    )
    assert labels_of(project) == [], "ann's answer is not saved as ada's"
    other.wait_for_load_state("networkidle")
    other.click(".top .person")
    sign_in(other, "ann")
    expect(dialog).to_be_hidden(timeout=10_000)
    all_saved(page)
    assert labels_of(project) == [("ann", labeled)]
    press(page, "1")
    all_saved(page)


def test_what_one_person_left_unsaved_is_never_saved_as_the_next_ones(project: Project, visit: Visitors) -> None:
    page = at_the_door(visit)
    sign_in(page, "ann")
    expect(page.locator(IMAGE)).to_be_visible()
    project.store.change_account("ann", password_hash=hashed(NEW_PASSWORD, "ann"))
    anns = press(page, "2")
    expect(page.locator("dialog.again")).to_be_visible()
    page.on("dialog", lambda asked: asked.accept())  # the browser asks whether to leave with something unsaved
    page.click("dialog.again a")
    sign_in(page, "ada")
    expect(page.locator(IMAGE)).to_be_visible()
    adas = press(page, "5")
    all_saved(page)
    assert labels_of(project) == [("ada", adas)]
    page.click(".top .person")
    page.add_init_script(A_WHILE_LATER)
    sign_in(page, "ann", NEW_PASSWORD)
    wait_for(lambda: sorted(labels_of(project)) == [("ada", adas), ("ann", anns)])
    all_saved(page)
