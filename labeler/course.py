"""The trainer at work: wait for a newer event, improve, publish, rest. It never writes a label."""

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labeler.control import control_of
from labeler.learning import Learning
from labeler.lookout import Lookout
from labeler.maps import Mapmaker, first_map
from labeler.outage import heard
from labeler.project import Project
from labeler.published import clear_drafts
from labeler.ranker import Ranker
from model.device import Pause
from storage import AlreadyRunning

BEAT_EVERY = 1.0  # seconds, while there is something new to tell
REST_BEATS = 3  # of these for one heartbeat otherwise
SLICE = 2  # steps between two looks while learning
CYCLE = 25  # steps after which a version is published although a great many labels came at once
STEPPING = 4.0  # times as long as a version takes to publish, steps are taken before the next one, up to CYCLE of them
WARM_UP_PUBLISH = 8.0  # seconds between versions while warming up, if labels came
SETTLE_PUBLISH = 10.0  # seconds between versions once nothing new comes
ENDLESS = ("elbo", "adversary", "critic")  # terms that creep for ever, or are games without an end
FLAT = 0.005  # settled when the loss fell by less than this share in 150 steps
SETBACKS = (
    5  # divergences in a row that are met with a lower rate; after one more only something new is a reason to try
)
QUIET = 20.0  # seconds without a new label after which nobody is taken to be labeling
STEADY = 1000  # steps without divergence after which the next one is the first in a row; the rate stays low
GROWN = 60.0  # seconds between two learners while images are imported; one at rest takes them in at once
TAKEN_OVER = "another trainer took over this project"

log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]  # steps taken, steps in all as far as known


class Lost(Exception):
    """Another trainer holds the project, or the server is gone."""


@dataclass
class Report:
    """What the page is told of the trainer; one dict in the database with a heartbeat. `on_phase` hears each phase."""

    project: Project
    on_phase: Callable[[str], None] = lambda phase: None
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)
    info: dict[str, Any] = field(default_factory=dict)
    lost: threading.Event = field(default_factory=threading.Event)

    def say(self, phase: str, **more: Any) -> None:
        changed = phase != self.info.get("phase")
        self.info = {**self.info, "phase": phase, "message": "", **more}
        if changed:
            self.on_phase(phase)

    def beat(self) -> None:
        """From a thread of its own, so that a long graph build does not look like a death."""
        told: dict[str, Any] = {}
        silent = 0
        while not self.lost.wait(BEAT_EVERY):
            silent, now = silent + 1, self.info
            if now == told and silent < REST_BEATS:
                continue
            with heard("A heartbeat could not be written."):
                if not self.project.store.heartbeat("trainer", self.holder, now):
                    self.lost.set()
                told, silent = now, 0


def train(
    folder: Path,
    until_settled: bool = False,
    on_progress: Progress | None = None,
    holder: str | None = None,
    on_phase: Callable[[str], None] = lambda phase: None,
) -> None:
    """Train a project: for ever, or until nothing is new and the loss is flat. While it is paused it waits.

    RuntimeError when another trainer is at work on it; ConnectionError when its database went away. Called again by the
    same `holder` it goes on, unless another trainer was quicker.
    """
    with Project.open(folder) as project:
        report = Report(project, on_phase, holder or uuid.uuid4().hex)
        report.say("starting", pid=os.getpid())
        try:
            project.store.hold("trainer", report.holder, report.info)
        except AlreadyRunning as e:
            raise RuntimeError(f"{folder} is being trained already ({e}). Stop that trainer or wait for it.") from e
        beats = threading.Thread(target=report.beat, daemon=True)
        beats.start()
        try:
            clear_drafts(project.folder)
            _until_done(project, report, until_settled, on_progress)
        finally:
            report.lost.set()
            beats.join(5)
            with suppress(ConnectionError):  # who is silent has let go
                project.store.let_go("trainer", report.holder)


def _until_done(project: Project, report: Report, until_settled: bool, on_progress: Progress | None) -> None:
    course: Course | None = None
    lookout = Lookout(project.store, report.lost)
    ranker = Ranker(project.store, lambda: course.learning if course else None, lookout, report.lost)
    lookout.start()
    ranker.start()
    mapmaker = Mapmaker(project.folder / "cache", lookout.tell)
    try:
        while True:
            setbacks = course.learning.setbacks if course else []
            learning = _when_ready(project, report, lookout, until_settled, setbacks, ranker.let_pass)
            mapmaker.close()  # one that was begun lacks the images that were added
            course = Course(project, learning, report, on_progress, lookout, mapmaker)
            if not course.run(until_settled):
                return
            # images were added: begin again on all of them, from the newest version
    finally:
        report.lost.set()
        mapmaker.close()
        lookout.join(5)
        ranker.join(5)


def _when_ready(
    project: Project, report: Report, lookout: Lookout, until_settled: bool, setbacks: Sequence[str], pause: Pause
) -> Learning:
    """A learner over the project's images, as soon as there are classes and at least two images."""
    while True:
        seen = lookout.news
        try:
            return Learning(project, rng_seed=_rng_seed(project), setbacks=setbacks, pause=pause)
        except ValueError as e:
            if until_settled:
                raise
            report.say("idle", message=str(e))
        lookout.wait(seen)
        if report.lost.is_set():
            raise Lost(TAKEN_OVER)


def _rng_seed(project: Project) -> int:
    return int(project.store.setting("rng_seed", 0))


class Course:
    """One learner's way: warm-up, then cycles of steps and versions, then rest until an event wakes it."""

    def __init__(
        self,
        project: Project,
        learning: Learning,
        report: Report,
        on_progress: Progress | None = None,
        lookout: Lookout | None = None,
        mapmaker: Mapmaker | None = None,
    ):
        self.project, self.store, self.learning, self.report = project, project.store, learning, report
        self.on_progress, self.lookout = on_progress, lookout or Lookout(project.store, report.lost)
        self.mapmaker = mapmaker
        self.began_at_step = 0  # after the last divergence
        self.in_a_row = 0  # divergences with fewer than STEADY steps between them
        self.begun_at = time.monotonic()
        self.setback = ""  # what the page is told while training goes on after a divergence
        self.published_at = self.publishing = 0.0  # when the newest version was out, and the seconds it took
        self.names = [c.name for c in self.store.classes()]
        # Of the newest version: newest event, acquisition and diversity, class names.
        self.published: tuple[int, tuple[str, float], list[str]] | None = None
        self.changed_at_step = 0
        self.changed_at, self.quiet_after = time.monotonic(), QUIET
        self.history: list[float] = []  # total loss, one entry a step since the last change

    def run(self, until_settled: bool) -> bool:
        """True when a new learner is due, mostly for images that were added; False when it is done."""
        if self.learning.resume():
            self.say("learning")
            if not self.learning.settled:
                self._begin_again()
            elif until_settled and self.learning.current and not self._lacks_map() and not self._paused():
                return False
        self.learning.sync()
        if until_settled:
            self.quiet_after = 0.0  # no page is open that wants the processor
        while not self.report.lost.is_set():
            seen = self.lookout.news
            self._map(idle=False)
            try:
                if not self._follow_classes():
                    return True
                if self._outgrown() and time.monotonic() - self.begun_at > GROWN:
                    self._publish()  # what was learned since the newest version is not to be lost
                    return True
                if self._turn(until_settled):
                    continue
            except FloatingPointError as e:
                if self.in_a_row == SETBACKS:
                    self._give_up(str(e), until_settled, seen)
                    return True
                self._roll_back(str(e))
                continue
            paused = self._paused()
            self._map(idle=True)
            if until_settled and not paused:
                self._last_map()
                return False
            self.say("paused" if paused else "idle")
            if self._outgrown():
                return True
            quiet_in = self._quiet_in()
            self.lookout.wait(seen, quiet_in if quiet_in > 0 else None)  # a map may be due by then
        raise Lost(TAKEN_OVER)

    def _paused(self) -> bool:
        return control_of(self.store).paused

    def _turn(self, until_settled: bool) -> bool:
        """Do the next thing; False when there is nothing to do. FloatingPointError when training diverges."""
        learner = self.learning.learner
        if learner.step - self.began_at_step > STEADY:
            self.in_a_row, self.setback = 0, ""
        if self._paused():
            return self._publish_at_rest()
        if learner.warming_up:
            self._warm_up()
            return True
        return self._cycle()

    def say(self, phase: str, message: str = "") -> None:
        learner = self.learning.learner
        if self.on_progress:
            last = learner.warm_up_steps if learner.warming_up else self.changed_at_step + learner.config.settle_most
            self.on_progress(learner.step, last)
        self.report.say(
            phase,
            message=message,
            step=learner.step,
            steps_total=learner.warm_up_steps if learner.warming_up else None,
            step_ms=round(1000 * learner.step_seconds, 1),
            threads=learner.watch.threads,
        )

    # ---------- divergence ----------
    def _roll_back(self, reason: str) -> None:
        """On from the newest version, or from the beginning without one: fresh optimiser, half the rate, new draws."""
        before = self.learning
        self.learning = Learning(
            self.project, rng_seed=_rng_seed(self.project), setbacks=[*before.setbacks, reason], pause=before.pause
        )
        self.in_a_row += 1
        newest = self.store.newest_version()
        resumed = self.learning.resume()
        self.learning.sync()
        self.began_at_step = self.learning.learner.step
        self._begin_again()
        to = f"to version {newest.version}" if resumed and newest else "to the beginning, as there is no version yet"
        self.setback = f"Training diverged: {reason}. It went back {to} and goes on at a lower rate."
        log.warning(self.setback)

    def _give_up(self, reason: str, until_settled: bool, seen: int) -> None:
        """Rest until something new gives a reason to try again. RuntimeError where nothing new can come."""
        message = (
            f"Training diverged {SETBACKS + 1} times in a row: {reason}. No label is lost, and what was published is "
            "sound. It tries again at the next label or import, or when the trainer is started again."
        )
        log.error(message)
        if until_settled:
            raise RuntimeError(message)
        self.learning.setbacks = []  # the next try is at the usual rate
        self.say("failed", message)
        self.lookout.wait(seen)

    # ---------- what there is to do ----------
    def _outgrown(self) -> bool:
        if self.published is None or self.learning.learner.warming_up:
            return False
        return bool(self.store.last_sample_id() != self.learning.sample_ids[-1])

    def _follow_classes(self) -> bool:
        """Go on with the classes as they are now; False when there is none left."""
        classes = self.store.classes()
        if classes and [c.id for c in classes] != self.learning.class_ids:
            self.learning = self.learning.reclassed()
            self._begin_again()
        self.names = [c.name for c in classes]  # they go into the published file
        return bool(classes)

    def _publish(self) -> None:
        how, begun = self._how(), time.monotonic()
        version = self.learning.publish(how[0], settled=not self.history and not self.learning.learner.warming_up)
        self.published_at = time.monotonic()
        self.publishing = self.published_at - begun
        self.published = (self.learning.last_event_id, how, self.names)
        self.report.info = {**self.report.info, "version": version}
        self.lookout.tell()  # the ranker: what was committed since this version began is not in its ranking

    def _how(self) -> tuple[str, float]:
        control = control_of(self.store)
        return control.acquisition, control.diversity

    def _publish_at_rest(self) -> bool:
        """While paused: a version without a step, where the ranker has none to rank on. False where it has one."""
        learning = self.learning
        if learning.learner.warming_up:
            return False
        if learning.home is not None and self.published is not None and self.published[2] == self.names:
            return False
        self.learning.sync()
        self._publish()
        return True

    def _map(self, idle: bool) -> None:
        """Publish a map that is ready; have one made where it is due."""
        learning = self.learning
        if self.mapmaker is None:
            return
        try:
            if (made := self.mapmaker.take()) is not None:
                learning.put_map(made)
            learner = learning.learner
            if learning.home is None or learner.warming_up or not self.store.setting("map", True):
                return
            newest, known = self.report.info["version"], learning.map
            if known is None:
                known = first_map(learner.features.components(), newest, learner.step)
                learning.put_map(known)
            if self.mapmaker.is_due(known, learner.step, idle, quiet=self._quiet_in() <= 0) and not self._paused():
                self.mapmaker.begin(learner.features.components(), known, newest, learner.step)
        except OSError:
            log.exception("The map could not be made or written.")

    def _lacks_map(self) -> bool:
        return self.learning.map is None and bool(self.store.setting("map", True))

    def _quiet_in(self) -> float:
        """Seconds until nobody is taken to be labeling, if no label comes; not above 0 when that is so."""
        return self.changed_at + self.quiet_after - time.monotonic()

    def _last_map(self) -> None:
        """What is being made is waited for: nobody comes to publish it later."""
        if self.mapmaker is not None:
            self.mapmaker.wait()
            self._map(idle=False)

    def _warm_up(self) -> None:
        """A slice of the warm-up. Labels given meanwhile are learned from at once and published now and then."""
        self.learning.improve(SLICE)
        self.learning.sync()
        self.say("warm_up", self.setback)
        known = self.published[0] if self.published else 0
        news = self.learning.learner.labels and self.learning.learned_event_id > known
        if not self.learning.learner.warming_up:
            self._begin_again()
            self._publish()
        elif news and time.monotonic() - self.published_at > WARM_UP_PUBLISH:
            self._publish()

    def _cycle(self) -> bool:
        """Steps for what is new, or towards a flat loss, then perhaps a version. False when there is nothing to do."""
        learning, learner = self.learning, self.learning.learner
        if self.published is None:
            self._publish()
            self.changed_at_step = learner.step
        if learning.sync():
            self._begin_again()
        if learner.unlearned():
            begun, known = learner.step, learning.last_event_id  # what comes meanwhile is for the next version
            self._steps("learning")
            enough = self.published_at + STEPPING * self.publishing
            while learner.step - begun < CYCLE and not self._paused():
                if learning.learned_event_id >= known and time.monotonic() >= enough:
                    break
                self._steps("learning")
            self._publish()
            return True
        if self.published != (learning.last_event_id, self._how(), self.names):  # a skip, an undo, another acquisition
            self._publish()
            return True
        if not learner.labels or self._settled():
            if self.history:  # the last steps of settling are not published yet
                self.history = []
                self._publish()
            return False
        self._steps("settling")
        if time.monotonic() - self.published_at > SETTLE_PUBLISH:
            self._publish()
        return True

    def _begin_again(self) -> None:
        self.changed_at_step, self.history = self.learning.learner.step, [0.0]
        self.changed_at = time.monotonic()

    def _steps(self, phase: str) -> None:
        learner = self.learning.learner
        self.learning.improve(SLICE)
        weights = vars(learner.config.objective)
        falling = {name: value for name, value in learner.losses.items() if name not in ENDLESS}
        self.history += [sum(weights[name] * value for name, value in falling.items())] * SLICE
        if self.learning.sync():
            self._begin_again()
        self.say(phase, self.setback)

    def _settled(self) -> bool:
        """Nothing new, and the loss flat: it fell by less than FLAT over the last 150 steps."""
        if not self.history:
            return True
        config = self.learning.learner.config
        steps = self.learning.learner.step - self.changed_at_step
        if steps < config.settle_least:
            return False
        before, now = sum(self.history[-300:-150]), sum(self.history[-150:])
        return steps >= config.settle_most or before - now < FLAT * abs(before)
