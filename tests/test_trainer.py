"""The trainer on a small project of real digits: what it publishes, when it goes on, when it rests, how it ends."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK, wait_for

from labeler import Project
from labeler.control import change
from labeler.course import Course, Lost, Report, train
from labeler.learning import Learning
from labeler.ranker import rank_now
from model import load
from model.acquisition import GREEDY
from model.learner import Learner
from model.objective import PAPER
from model.scores import entropy


@pytest.fixture
def course(digit_project: Project) -> Course:
    return Course(digit_project, Learning(digit_project), Report(digit_project))


def label(project: Project, n: int, first: int = 0) -> list[int]:
    ids = project.store.sample_ids("pool")[first : first + n].tolist()
    loop = project.loop()
    for i, sample_id in enumerate(ids):
        loop.answer(sample_id, i % 10)
    return ids


def to_rest(course: Course) -> None:
    """Cycles until the labels known now are learned and published; settling is left out."""
    while course.learning.learner.warming_up:
        course._warm_up()
    course._cycle()
    while course.learning.learned_event_id < course.store.last_event_id():
        course._cycle()


def test_a_version_names_the_event_it_has_learned_from_and_holds_every_array(digit_project, course):
    label(digit_project, 12)
    to_rest(course)
    published = digit_project.published()
    assert published is not None
    assert (published.last_event_id, published.labels) == (digit_project.store.last_event_id(), 12)
    assert published.metrics["learned_event_id"] == published.last_event_id
    assert min(course.learning.learner.steps_with.values()) >= 10
    ids = digit_project.store.sample_ids()
    np.testing.assert_array_equal(published.sample_ids, ids)
    assert published.probs.shape == (180, 10)
    np.testing.assert_allclose(published.probs.sum(1), 1, atol=1e-4)
    open_ids = set(digit_project.store.sample_ids("pool")) - set(digit_project.store.states())
    assert sorted(published.ranking) == sorted(open_ids)
    assert published.embeddings.shape == (180, 32)
    assert published.generated.shape == (10, 8, 8, 8)
    assert published.metrics["gold_n"] == 30
    assert 0 <= published.metrics["gold_accuracy"] <= 1
    terms = published.metrics
    assert terms["elbo"] == pytest.approx(terms["log_px"] - terms["kl_z"] - terms["kl_y"], abs=0.01)


def test_a_correction_and_an_undo_make_new_versions_though_the_count_stays(digit_project, course):
    ids = label(digit_project, 10)
    to_rest(course)
    first = digit_project.published()
    loop = digit_project.loop()
    loop.answer(ids[0], 7)
    loop.answer(ids[1], 7)
    to_rest(course)
    second = digit_project.published()
    assert first is not None
    assert second is not None
    assert second.version > first.version
    assert second.labels == first.labels == 10
    assert {course.learning.learner.labels[p] for p in course.learning._positions(np.array(ids[:2]))} == {7}
    loop.undo()
    to_rest(course)
    assert sorted(course.learning.learner.labels.values()).count(7) == 2  # ids[0] corrected, ids[7] as it was
    loop.undo()
    to_rest(course)
    assert course.learning.learner.labels == {p: i for i, p in enumerate(course.learning._positions(np.array(ids)))}


def test_the_longer_a_version_takes_the_more_steps_come_before_the_next_up_to_25(digit_project, course):
    label(digit_project, 10)
    to_rest(course)
    taken = []
    for seconds in (0, 3600):
        course.publishing = seconds
        label(digit_project, 1, first=20 + len(taken))
        before = course.learning.learner.step
        course._cycle()
        taken.append(course.learning.learner.step - before)
        assert digit_project.published().last_event_id == digit_project.store.last_event_id()
    assert taken == [10, 26]  # 10 batches with the new label; 25, in slices of two


def test_another_acquisition_is_published_at_once_and_ranks_by_it(digit_project, course):
    label(digit_project, 25)
    to_rest(course)
    assert digit_project.published().acquisition == "coverage"
    digit_project.store.set_setting("acquisition", "entropy")
    course._cycle()
    published = digit_project.published()
    assert published.acquisition == "entropy"
    row = {int(s): i for i, s in enumerate(published.sample_ids)}
    after_head = [published.scores[row[int(s)]] for s in published.ranking[GREEDY:]]
    assert (np.diff(after_head) > 0).sum() <= 1  # one rise, to those that are practically the same as a labeled image
    np.testing.assert_allclose(published.scores, entropy(np.asarray(published.probs)), rtol=1e-3)


def test_labels_on_measuring_samples_are_counted_apart_and_never_learned(tmp_path, digits):
    np.savez(tmp_path / "pool.npz", x=digits[0][:60])
    with Project.create(tmp_path / "project", ["even", "odd"]) as p:
        p.import_(tmp_path / "pool.npz", measure_share=0.2)
        p.store.set_setting("learner", QUICK)
        p.store.set_setting("map", False)
        measure = p.store.sample_ids("measure")
        loop = p.loop()
        for sample_id in [*measure[:5], *p.store.sample_ids("pool")[:4]]:
            loop.answer(int(sample_id), "odd")
        course = Course(p, Learning(p), Report(p))
        to_rest(course)
        published = p.published()
        assert published is not None
        assert (published.labels, published.metrics["measured_n"]) == (4, 5)
        assert "gold_n" not in published.metrics
        assert published.metrics["validation_n"] == len(measure)
        assert not set(published.ranking) & set(measure)


def test_a_project_may_choose_the_papers_objective(digit_project):
    digit_project.store.set_setting("objective", "paper")
    assert Learning(digit_project).learner.config.objective == PAPER


def test_a_second_trainer_is_refused_and_a_settled_one_ends(digit_project):
    label(digit_project, 10)
    other = Project.open(digit_project.folder)
    other.store.hold("trainer", "someone", {})
    with pytest.raises(RuntimeError, match="trained already"):
        train(digit_project.folder, until_settled=True)
    other.store.let_go("trainer", "someone")
    other.close()
    seen: list[tuple[int, int]] = []
    train(digit_project.folder, until_settled=True, on_progress=lambda done, total: seen.append((done, total)))
    published = digit_project.published()
    assert published is not None
    assert published.labels == 10
    assert published.steps >= 26
    assert seen[-1][0] == published.steps
    assert digit_project.store.process("trainer") is None
    train(digit_project.folder, until_settled=True)  # nothing new: no warm-up, no step, no version
    assert digit_project.published().version == published.version
    digit_project.classes.rename("3", "three")
    train(digit_project.folder, until_settled=True)
    renamed = digit_project.published()
    assert (renamed.steps, renamed.version) == (published.steps, published.version + 1)
    assert "three" in load(renamed.folder / "model.safetensors").classes


def test_a_trainer_that_settled_on_a_thousand_labels_takes_no_time_of_the_processor(tmp_path, digits):
    images, labels = digits
    np.savez(tmp_path / "pool.npz", x=images[:1100], y=labels[:1100])
    with Project.create(tmp_path / "project", [str(k) for k in range(10)]) as p:
        p.import_(tmp_path / "pool.npz", labels=True, measure_share=0)
        p.store.set_setting("learner", {**QUICK, "labeled_batch": 400})
        p.store.set_setting("map", False)
        with at_work(p):
            wait_for(lambda: (p.store.process("trainer") or {}).get("phase") == "idle", 90)
            assert p.store.newest_version().metrics["learned_event_id"] == p.store.last_event_id()
            before = time.process_time()
            time.sleep(3)
            assert (time.process_time() - before) / 3 < 0.05


@contextmanager
def at_work(project: Project) -> Iterator[None]:
    """A trainer in a thread of this process, until it loses the project."""
    with ThreadPoolExecutor() as pool:
        trainer = pool.submit(train, project.folder)
        try:
            yield
        finally:
            project.store.let_go("trainer", project.store.process("trainer")["holder"])
        with pytest.raises(Lost):
            trainer.result(30)


@contextmanager
def trainer_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-P", "-m", "labeler.trainer", str(folder), "--parent", str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_images_and_classes_that_come_while_it_runs_are_taken_in(digit_project, digits, tmp_path):
    store = digit_project.store
    with trainer_process(digit_project.folder) as process:
        wait_for(lambda: store.newest_version() is not None, 60)
        store.add_classes(["blank"])
        np.savez(tmp_path / "more.npz", x=digits[0][200:220])
        digit_project.import_(tmp_path / "more.npz", measure_share=0)
        wait_for(lambda: (p := digit_project.published()) is not None and p.probs.shape == (200, 11))
        wait_for(lambda: (store.process("trainer") or {}).get("phase") == "idle")
        store.set_setting("paused", True)
        wait_for(lambda: (store.process("trainer") or {}).get("phase") == "paused")
        assert process.stdin is not None
        process.stdin.close()  # the server went away
        process.wait(5)


def test_the_trainer_is_gone_within_five_seconds_of_its_server_being_killed(digit_project):
    script = (
        "import os, subprocess, sys, time\n"
        "command = [sys.executable, '-P', '-m', 'labeler.trainer', sys.argv[1], '--parent', str(os.getpid())]\n"
        "print(subprocess.Popen(command, stdin=subprocess.PIPE).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-P", "-c", script, str(digit_project.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        wait_for(lambda: digit_project.store.newest_version() is not None, 60)
        server.kill()
    wait_for(lambda: not _runs(pid), 5)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True


def diverging(project: Project, spoil: Callable[[Learner], None]) -> Course:
    """A course whose learner is spoilt once, soon after it took its first steps."""
    course = Course(project, Learning(project), Report(project))
    spoilt: list[int] = []

    def once(done: int, total: int) -> None:
        spoilt.append(done)
        if len(spoilt) == 3:
            spoil(course.learning.learner)

    course.on_progress = once
    return course


def spoil_gradient(learner: Learner) -> None:
    learner.vae.classifier.weight.register_hook(lambda gradient: gradient * float("nan"))


@torch.no_grad()
def explode_weights(learner: Learner) -> None:
    for weights in learner.vae.parameters():
        weights.mul_(1e3)


@torch.no_grad()
def spoil_running_mean(learner: Learner) -> None:
    learner.ema.prior_mu.fill_(float("inf"))


def assert_all_is_finite(project: Project) -> None:
    """Every number of every version that is still there."""
    folders = list((project.folder / "models").iterdir())
    assert folders
    for folder in folders:
        assert load(folder / "model.safetensors").is_finite()
        assert all(np.isfinite(np.load(file)).all() for file in folder.glob("*.npy"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_gradient, "the norm of the gradient is nan"),
        (explode_weights, "the loss is .*, usually"),
        (spoil_running_mean, "a weight is not finite"),
    ],
)
def test_a_diverging_trainer_goes_on_from_its_last_version_and_says_so(digit_project, course, caplog, spoil, reason):
    label(digit_project, 12)
    to_rest(course)
    before = digit_project.published()
    label(digit_project, 5, first=12)
    course = diverging(digit_project, spoil)
    assert not course.run(until_settled=True)
    after = digit_project.published()
    assert (after.labels, after.metrics["learned_event_id"]) == (17, digit_project.store.last_event_id())
    assert after.steps >= before.steps + 10
    assert len(after.metrics["setbacks"]) == 1
    assert "setbacks" not in before.metrics
    assert course.learning.learner.config.lr == 0.0005
    told = course.report.info["message"]
    back = before.version + 1  # a trainer that starts publishes how things stand
    assert re.match(f"Training diverged: {reason}.* at step .* It went back to version {back} ", told)
    assert told in caplog.text
    assert_all_is_finite(digit_project)


def test_without_a_version_it_begins_the_warm_up_again_with_other_weights(digit_project, caplog):
    digit_project.store.set_setting("learner", {**QUICK, "warm_up_steps": 20})
    label(digit_project, 12)
    course = diverging(digit_project, spoil_gradient)
    first = course.learning.learner.vae.prior_mu.detach().clone()
    assert not course.run(until_settled=True)
    assert "to the beginning" in caplog.text
    published = digit_project.published()
    assert published.labels == 12
    assert published.steps >= 40
    again = Learning(digit_project, setbacks=published.metrics["setbacks"]).learner.vae.prior_mu
    assert not torch.equal(first, again)
    assert_all_is_finite(digit_project)


def test_one_that_goes_on_diverging_gives_up_and_tries_again_when_there_is_something_new(digit_project):
    store = digit_project.store
    label(digit_project, 10)
    store.set_setting("learner", {**QUICK, "lr": 1e30})
    with pytest.raises(RuntimeError, match="diverged 6 times in a row"):
        train(digit_project.folder, until_settled=True)
    assert store.versions() == []
    with at_work(digit_project):
        wait_for(lambda: (store.process("trainer") or {}).get("phase") == "failed")
        assert "diverged 6 times in a row" in store.process("trainer")["message"]
        store.set_setting("learner", QUICK)
        label(digit_project, 5, first=10)
        wait_for(lambda: (v := store.newest_version()) is not None and v.labels == 15)
    assert_all_is_finite(digit_project)


def test_a_trainer_that_starts_again_learns_only_what_its_last_version_had_not(digit_project, course):
    ids = label(digit_project, 12)
    to_rest(course)
    loop = digit_project.loop()
    loop.answer(ids[3], 9)
    loop.answer(ids[4], 9)
    loop.undo()
    label(digit_project, 2, first=12)
    learning = Learning(digit_project)
    assert learning.resume()
    lacking = [p for p in learning.learner.labels if learning.learner.lacks_steps(p)]
    assert (
        lacking == learning._positions(np.array([*ids[3:5], *digit_project.store.sample_ids("pool")[12:14]])).tolist()
    )


def test_how_far_the_graph_was_believed_is_not_forgotten(digit_project, course):
    label(digit_project, 12)
    to_rest(course)
    label(digit_project, 6, first=12)
    to_rest(course)
    kept = course.learning.learner.pseudo_labels
    later = Learning(digit_project)
    assert later.resume()
    taken = later.learner.pseudo_labels
    for before, after in ((kept.trust, taken.trust), (kept.network_trust, taken.network_trust)):
        assert len(before.ratios) == 6
        assert list(after.ratios) == pytest.approx(list(before.ratios), abs=1e-3)


def test_a_trainer_that_was_stopped_before_it_settled_goes_on_to_settle(digit_project, course):
    label(digit_project, 12)
    to_rest(course)
    stopped = digit_project.published()
    assert not course._settled()
    assert not stopped.metrics["settled"]
    train(digit_project.folder, until_settled=True)
    settled = digit_project.published()
    assert settled.steps >= stopped.steps + QUICK["settle_least"]
    assert settled.metrics["settled"]


def test_images_that_come_after_it_settled_are_trained_on(digit_project, digits, tmp_path):
    label(digit_project, 12)
    train(digit_project.folder, until_settled=True)
    settled = digit_project.published()
    np.savez(tmp_path / "more.npz", x=digits[0][300:400])
    digit_project.import_(tmp_path / "more.npz", measure_share=0)
    train(digit_project.folder, until_settled=True)
    assert digit_project.published().steps >= settled.steps + QUICK["settle_least"]


def test_images_that_come_while_labels_are_learned_are_taken_in_and_so_are_their_labels(
    digit_project, course, digits, tmp_path, monkeypatch
):
    label(digit_project, 12)
    to_rest(course)
    np.savez(tmp_path / "more.npz", x=digits[0][300:340])
    digit_project.import_(tmp_path / "more.npz", measure_share=0)
    known = course.learning.learned_event_id
    new = label(digit_project, 15, first=len(digit_project.store.sample_ids("pool")) - 15)
    label(digit_project, 1, first=12)
    course._cycle()
    published = digit_project.published()
    assert published.labels == 13
    assert published.metrics["learned_event_id"] == known, "no event behind one that it cannot have learned"
    monkeypatch.setattr("labeler.course.GROWN", 0.0)
    assert course.run(until_settled=True), "it does not wait until it rests"
    after = Learning(digit_project)
    assert after.resume()
    after_ids = after.sample_ids[[p for p in after.learner.labels if after.learner.lacks_steps(p)]]
    assert set(new) <= set(after_ids.tolist())


def test_the_rate_stays_lower_after_steps_without_divergence(digit_project, course, monkeypatch):
    monkeypatch.setattr("labeler.course.STEADY", 5)
    label(digit_project, 12)
    to_rest(course)
    rates = []
    for _ in range(3):
        course._roll_back("a test")
        rates.append(course.learning.learner.config.lr)
        for _ in range(4):
            course._turn(until_settled=False)
        assert course.in_a_row == 0
    assert rates == [5e-4, 2.5e-4, 1.25e-4]


def test_what_is_paused_right_after_a_divergence_ranks_new_labels(digit_project, course):
    label(digit_project, 12)
    to_rest(course)
    change(digit_project.store, {"paused": True})
    course._roll_back("a test")
    course._turn(until_settled=False)
    label(digit_project, 1, first=12)
    assert rank_now(course.learning, np.random.default_rng(0), "margin")
    assert not course._turn(until_settled=False), "one version is enough"


def test_old_versions_are_pruned_but_the_milestones_keep_their_weights(digit_project, course):
    for n in range(6):
        label(digit_project, 5, first=5 * n)
        to_rest(course)
    rows = {v.version: v for v in digit_project.store.versions() if not v.pruned}
    folders = sorted(p.name for p in (digit_project.folder / "models").iterdir())
    assert folders == sorted(Path(v.folder).name for v in rows.values())
    with_arrays = [v for v in rows if (digit_project.folder / rows[v].folder / "probs.npy").exists()]
    assert with_arrays == sorted(rows)[-2:]
    labels = {v.labels for v in rows.values()}
    assert {10, 20, 30} <= labels
    assert 15 not in labels
