"""The trainer while classes change: it goes on with what it knew, and publishes versions of the classes as they are."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import QUICK, wait_for

from labeler import Project
from labeler.course import Course, Lost, Report, train
from labeler.learning import Learning
from labeler.ranker import rank_now
from model import load


@pytest.fixture
def project(digit_project: Project, digits: tuple[np.ndarray, np.ndarray]) -> Project:
    """The first 40 of the pool labeled."""
    loop = digit_project.loop()
    for i, sample_id in enumerate(digit_project.store.sample_ids("pool")[:40].tolist()):
        loop.answer(sample_id, str(digits[1][i]))
    return digit_project


@pytest.fixture
def course(project: Project) -> Course:
    """At rest: warmed up, all labels learned and published."""
    course = Course(project, Learning(project), Report(project))
    while course.learning.learner.warming_up:
        course._warm_up()
    course._cycle()
    while course.learning.learned_event_id < project.store.last_event_id():
        course._cycle()
    return course


def follow(course: Course) -> None:
    """What a turn of the course does about classes, and the version that follows."""
    assert course._follow_classes()
    course._cycle()


def lacking(learning: Learning) -> set[int]:
    """Class ids of the labels that are still to be learned."""
    return {learning.class_ids[y] for p, y in learning.learner.labels.items() if learning.learner.lacks_steps(p)}


def unpublished(course: Course, change: Callable[[], object]) -> Learning:
    change()
    later = Learning(course.project)
    assert later.resume()
    assert later.learner.step == course.project.store.newest_version().steps  # type: ignore[union-attr]
    assert not later.learner.warming_up
    return later


def test_a_version_of_the_classes_as_they_are_follows_each_change_without_a_step_for_a_merge(
    project: Project, course: Course
) -> None:
    learner, step = course.learning.learner, course.learning.learner.step
    for change, n in [
        (lambda: project.classes.merge(["3"], into="8"), 9),
        (lambda: project.classes.archive(["0"]), 8),
        (lambda: project.classes.add(["blank"]), 9),
    ]:
        change()
        assert lacking(course.learning) == set()
        follow(course)
        published = project.published()
        assert published is not None
        assert published.class_ids == [c.id for c in project.store.classes()]
        assert published.probs.shape == (180, n)
        assert published.generated.shape[0] == n
        assert (published.labels, published.steps) == (len(project.store.labels(split="pool")), step)
    assert course.learning.learner is learner
    assert course.learning.labels_now() == learner.labels


def test_what_a_class_was_taken_out_of_is_where_it_starts_and_only_its_labels_are_learned_again(
    project: Project, course: Course
) -> None:
    project.classes.merge(["3"], into="8")
    follow(course)
    project.classes.unmerge(["3"])
    assert course._follow_classes()
    assert lacking(course.learning) == {4}
    ids = [i for i, c in project.store.labels().items() if c == 2]
    project.classes.split("1", "seven-like", ids[:2])
    assert course._follow_classes()
    assert lacking(course.learning) == {4, 11}
    assert course.learning._sources([c.id for c in project.store.classes()][:10])[10] == [1]
    assert course.learning._sources([1, 2, 3, 5, 6, 7, 8, 9, 10])[3] == [7]  # of a network in which 3 was merged into 8


def test_classes_that_were_taken_out_of_each_other_have_no_origin_that_is_known(
    project: Project, course: Course
) -> None:
    for one, other in (("3", "8"), ("8", "3")):
        project.classes.merge([one], into=other)
        project.classes.unmerge([one])
    assert course.learning._sources([1, 2])[3] == []


@pytest.mark.parametrize(
    ("change", "new"),
    [
        (lambda p: p.classes.merge(["3", "5"], into="8"), set()),
        (lambda p: p.classes.archive(["3"]), set()),
        (lambda p: p.classes.reorder(["9", "4"]), set()),
        (lambda p: p.classes.add(["blank"]), set()),
    ],
    ids=["merge", "archive", "reorder", "add"],
)
def test_a_trainer_that_starts_after_a_change_goes_on_from_the_newest_version(
    project: Project, course: Course, change: Callable[[Project], object], new: set[int]
) -> None:
    later = unpublished(course, lambda: change(project))
    assert lacking(later) == new
    later.publish("coverage")
    published = project.published()
    assert published is not None
    assert published.class_ids == [c.id for c in project.store.classes()]


def test_training_goes_on_from_its_own_layer_and_not_from_the_one_that_was_published(
    project: Project, course: Course
) -> None:
    own = course.learning.learner.own_layer
    assert course.learning.home is not None
    published = load(course.learning.home / "model.safetensors")
    assert not torch.allclose(published.vae.classifier.weight, own.weight, atol=1e-3)
    later = Learning(project)
    assert later.resume()
    torch.testing.assert_close(later.learner.own_layer, own)


def test_labels_that_were_all_taken_back_while_no_trainer_ran_are_forgotten(project: Project, course: Course) -> None:
    published = project.published()
    assert published is not None
    assert published.probs.max(1).mean() > 0.3
    loop = project.loop()
    for sample_id in project.store.labels(split="pool"):
        loop.skip(sample_id)
    later = Learning(project)
    assert later.resume()
    later.publish("coverage")
    published = project.published()
    assert published is not None
    np.testing.assert_allclose(published.probs, 0.1, atol=1e-3)


def test_the_labels_of_a_restored_class_are_learned_again(project: Project, course: Course) -> None:
    project.classes.archive(["3"])
    follow(course)
    later = unpublished(course, lambda: project.classes.restore(["3"]))
    assert lacking(later) == {4}


def test_gold_images_of_an_archived_class_are_not_measured_on_nor_trained_on(
    project: Project, course: Course, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    of_class = int((digits[1][150:180] == 3).sum())
    assert of_class
    project.classes.archive(["3"])
    follow(course)
    published = project.published()
    assert published is not None
    assert published.metrics["gold_n"] == 30 - of_class
    assert Learning(project).learner.held_out.sum() == 30
    project.classes.restore(["3"])
    follow(course)
    assert project.published().metrics["gold_n"] == 30  # type: ignore[union-attr]


def test_a_new_name_is_in_the_next_file(project: Project, course: Course) -> None:
    project.classes.rename("3", "three")
    follow(course)
    published = project.published()
    assert published is not None
    assert load(published.folder / "model.safetensors").classes[3] == "three"


def test_whoever_still_ranks_on_the_old_classes_leaves_a_ranking_that_fits_their_version(
    project: Project, course: Course
) -> None:
    old, home = course.learning, course.learning.look[0]  # type: ignore[index]
    project.classes.merge(["3"], into="8")
    assert course._follow_classes()
    assert course.learning.look is None
    assert not rank_now(course.learning, np.random.default_rng(0), "margin")
    assert rank_now(old, np.random.default_rng(0), "margin")
    with np.load(home / "ranking.npz") as ranking:
        assert ranking["probs"].shape == (180, 10)


def test_a_change_in_the_warm_up_does_not_begin_it_again(project: Project) -> None:
    project.store.set_setting("learner", QUICK | {"warm_up_steps": 40})
    course = Course(project, Learning(project), Report(project))
    for _ in range(5):
        course._warm_up()
    step = course.learning.learner.step
    project.classes.merge(["3"], into="8")
    assert course._follow_classes()
    assert (course.learning.learner.step, course.learning.learner.warming_up) == (step, True)
    course._warm_up()
    assert course.learning.learner.step == step + 2


def test_a_trainer_at_work_follows_every_change_and_rests_where_no_class_is_left(project: Project) -> None:
    store = project.store

    def published() -> bool:
        newest = project.published()
        return newest is not None and newest.class_ids == [c.id for c in store.classes()]

    def phase() -> object:
        return (store.process("trainer") or {}).get("phase")

    with ThreadPoolExecutor() as pool:
        trainer = pool.submit(train, project.folder)
        wait_for(published, 60)
        everything = [c.name for c in store.classes()]
        for change in [
            lambda: project.classes.merge(["3", "5"], into="8"),
            lambda: project.classes.split("8", "eight-like", [i for i, c in store.labels().items() if c == 9][:2]),
            lambda: project.classes.unmerge(["5"]),
            lambda: project.classes.archive([c.name for c in store.classes()]),
        ]:
            change()
            wait_for(lambda: published() or not store.classes(), 60)
        wait_for(lambda: phase() == "idle", 60)
        project.classes.restore([name for name in everything if name not in ("3", "5")])
        wait_for(published, 60)
        wait_for(lambda: phase() == "idle", 60)
        store.let_go("trainer", store.process("trainer")["holder"])  # type: ignore[index]
        with pytest.raises(Lost):
            trainer.result(30)
    steps = [version.steps for version in store.versions()]
    assert steps == sorted(steps)
