"""The main job from end to end: the demo with a quick learner, labels by keyboard, versions meanwhile, the export."""

import csv
from pathlib import Path

import pytest
from conftest import QUICK, interrupt, start, wait_for
from pages import CHROMIUM, FLAGS, IMAGE, all_saved, press
from playwright.sync_api import expect, sync_playwright

from labeler import Project, demo
from labeler.__main__ import run

KEYS = "1234567890"


@pytest.mark.timeout(240)
def test_sixty_labels_on_the_demo_are_recorded_learned_and_exported(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo.prepare(folder, "digits")
    with Project.open(folder) as project:
        project.store.set_setting("learner", QUICK)
    server = start("demo", "--dataset", "digits", "--no-browser", "--port", "0", "--dir", folder)
    assert server.stdout is not None
    url = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
    pressed: list[tuple[int, str]] = []
    with sync_playwright() as playwright, Project.open(folder) as project:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(url)
        page.fill("dialog.who input", "ann")
        page.keyboard.press("Enter")
        expect(page.locator(IMAGE)).to_be_visible()
        for i in range(60):
            if i == 30:
                wait_for(lambda: any(v.labels for v in project.store.versions()), 120)
            key = KEYS[(3 * i + i // 7) % 10]
            pressed.append((press(page, key), key))
        all_saved(page)
        browser.close()

        names = {c.id: c.name for c in project.store.classes()}
        events = project.store.events()
        assert [(e.sample_id, names[e.class_id]) for e in events if e.class_id] == pressed  # a digit's key is its name
        assert {e.kind for e in events} == {"label"}
        newest = events[-1].id
        wait_for(lambda: project.store.newest_version().metrics["learned_event_id"] >= newest, 60)
        versions = project.store.versions()
        assert versions[-1].labels == 60
        assert any(0 < v.labels < 60 for v in versions)
        assert versions[-1].metrics["gold_n"] == 500
    assert interrupt(server).code == 0

    assert run(["export", str(folder), str(tmp_path / "labels.csv"), "--format", "csv"]) == 0
    with open(tmp_path / "labels.csv", newline="", encoding="utf-8") as f:
        exported = sorted((int(r["event_id"]), int(r["sample_id"]), r["class"], r["status"]) for r in csv.DictReader(f))
    assert [(s, c, status) for _, s, c, status in exported] == [(s, key, "label") for s, key in pressed]
