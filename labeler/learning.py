"""A project's labels and images brought to the learner, and what it learned brought back as published versions.

The trainer process and `labeler simulate` both go through here; neither has a loop of learning of its own.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labeler import maps, published
from labeler.control import control_of
from labeler.flips import Flips, as_rows
from labeler.scores import measured_labels
from labeler.working import as_pictures
from model import ACQUISITIONS, acquisition, checkpoint
from model.device import Pause, no_pause
from model.graph import Graph
from model.instant import Instant
from model.learner import Learner, LearnerConfig
from model.objective import PRESETS
from model.ssvae import SSVAE
from model.trust import Trust

if TYPE_CHECKING:
    from labeler.project import Project

__all__ = ["ACQUISITIONS", "DEFAULT_ACQUISITION", "Learning"]

DEFAULT_ACQUISITION = "coverage"
REFRESHED = 250  # images seen anew by each version for every step since the last one, up to MOST_REFRESHED; the others
MOST_REFRESHED = 5_000  # keep the features of one of the last few
SOON = 4  # questions at the head of a ranking that a label is likely to come for next
MEASURED_ON = 2_000  # gold images a version is measured on, at most
VALIDATED_ON = 500  # held-out images of the ELBO
STRIP = 8  # generated images of each class on the page


class Learning:
    """One learner over all images of a project. Everything here takes and gives sample ids and class ids.

    `setbacks` are the reasons for which learners before this one diverged: each halves the rate, and takes other
    batches and other first weights. `pause` is called before each step and between the parts of a version.
    """

    def __init__(
        self,
        project: "Project",
        config: LearnerConfig | None = None,
        rng_seed: int = 0,
        setbacks: Sequence[str] = (),
        pause: Pause = no_pause,
    ):
        self.project, self.store, self.setbacks = project, project.store, list(setbacks)
        self.pause = pause
        images = project.images()
        self.sample_ids, self.images = images.sample_ids, images.array
        self.class_ids = [c.id for c in self.store.classes()]
        if not self.class_ids:
            raise ValueError(
                f"{project.folder} has no classes yet; add some with 'labeler new' or 'labeler import --labels'"
            )
        self.pool = self._positions(self.store.sample_ids("pool"))
        self.gold = self.store.gold()
        gold_ids, measure_ids = self.store.sample_ids("gold"), self.store.sample_ids("measure")
        held_out = np.zeros(len(self.sample_ids), bool)
        held_out[self._positions(gold_ids)] = held_out[self._positions(measure_ids)] = True
        self.rng = np.random.default_rng(rng_seed)
        gold_positions = self._positions(gold_ids)
        self.gold_positions = np.sort(self.rng.permutation(gold_positions)[:MEASURED_ON])
        self.measure_positions = self._positions(measure_ids)
        self.validation = np.sort(self.rng.permutation(np.flatnonzero(held_out))[:VALIDATED_ON])
        config = config or LearnerConfig(
            **{
                "objective": PRESETS[self.store.setting("objective", "recipe")],
                "flip": self.store.setting("flip"),
                **self.store.setting("learner", {}),
            }
        )
        config = replace(config, lr=config.lr / 2 ** len(setbacks))
        self.learner = Learner(
            self.images, len(self.class_ids), held_out, config, rng_seed + 1000 * len(setbacks), pause=pause
        )
        self.last_event_id = 0
        self.learned_event_id = 0
        self._waiting: list[tuple[int, list[int]]] = []  # (event id, positions whose label it brought)
        self._not_here: int | None = None  # the first event of an image that was imported since
        self.settled = self.current = False  # the version gone on from had settled; and is as one would be now
        self._prototypes: np.ndarray | None = None
        self.asked_next = np.empty(0, np.int64)  # positions of the first SOON of the newest ranking
        self._memory = acquisition.Memory()
        self._seen_whole = False
        self._published_at_step = 0
        self.look: tuple[Path, Instant] | None = None  # folder of the newest version, and what ranks anew on it
        self.published_event_id = 0  # the newest event that the newest version knows
        self.published_how = "", 1.0  # acquisition and diversity that its ranking goes by
        self.flips = Flips(self.store)
        self.home: Path | None = None  # folder of the newest version that was published here
        self.map: maps.Map | None = None  # the newest, with a row for each image
        self.seconds = 0.0  # spent on steps, by this process

    def _positions(self, sample_ids: np.ndarray) -> np.ndarray:
        """Rows of the image array; ids that it does not hold yet (imported since) are left out."""
        at = np.searchsorted(self.sample_ids, sample_ids)
        inside = at < len(self.sample_ids)
        found = at[inside]
        return found[self.sample_ids[found] == sample_ids[inside]]

    # ---------- labels in ----------
    def resume(self) -> bool:
        """Go on from the newest published version that fits these images; False when there is none."""
        row = self.store.newest_version()
        if row is None:
            return False
        file = self.project.folder / row.folder / "model.safetensors"
        try:
            model = checkpoint.load(file)
            before = model.header["class_ids"]
            if not model.is_finite():
                return False
            if model.own_layer is not None:
                model.own_layer.put_into(model.vae.classifier)
            self.learner.resume(model.vae, row.steps, self._sources(before), model.mixtures)
            pseudo = self.learner.pseudo_labels
            pseudo.trust, pseudo.network_trust = map(Trust, model.header.get("trust", ((), ())))
        except (FileNotFoundError, ValueError):
            return False  # a torn or foreign file: the warm-up takes a minute, the labels are all there
        self.map = self._map_of(self.project.folder / row.folder)
        self.sync()
        then, now = [row.metrics.get("images"), row.last_event_id], [len(self.images), self.last_event_id]
        self.settled = bool(row.metrics.get("settled")) and (then, before) == (now, self.class_ids)
        same = row.acquisition == control_of(self.store).acquisition and model.header["classes"] == self._names()
        self.current = self.settled and same
        self.learned_event_id = row.metrics["learned_event_id"]
        since = np.unique([e.sample_id for e in self.store.events(after=self.learned_event_id)]).astype(np.int64)
        known = {p for p, y in self.learner.labels.items() if self.class_ids[y] in before}
        self.learner.count_as_learned(known - set(self._positions(since).tolist()))
        return True

    def reclassed(self) -> "Learning":
        """The same learner on the classes as they are now. Whoever ranks with this one still has the old classes."""
        now, learner = copy.copy(self), self.learner
        now.class_ids = [c.id for c in self.store.classes()]
        was = {p: self.class_ids[y] for p, y in learner.labels.items() if not learner.lacks_steps(p)}
        learner.reclass(now._sources(self.class_ids))
        now.gold, now.look, now._waiting, now.last_event_id = self.store.gold(), None, [], -1
        now.sync()
        root = self.store.roots()
        learner.count_as_learned({p for p, y in learner.labels.items() if root.get(was.get(p, 0)) == now.class_ids[y]})
        return now

    def _sources(self, before: Sequence[int]) -> list[list[int]]:
        """Of each class the columns of a network for the classes `before` that it goes on from (model/columns.py)."""
        root = self.store.roots()
        came_from: dict[int, int | None] = {}  # of a class that was taken out of another one, that one
        for e in self.store.class_events():
            if e.kind in ("split", "unmerge", "restore"):
                came_from[e.now.id] = e.came_from
        sources = []
        for class_id in self.class_ids:
            columns = [i for i, old in enumerate(before) if root.get(old) == class_id]
            looked_at, origin = {class_id}, came_from.get(class_id)
            while not columns and origin is not None and origin not in looked_at:
                columns = [i for i, old in enumerate(before) if old in (origin, root[origin])]
                looked_at.add(origin)
                origin = came_from.get(origin)
            sources.append(columns)
        return sources

    def sync(self) -> bool:
        """Take over every label, correction and retraction committed since; True if the learner's labels changed."""
        newest = self.store.last_event_id()
        if newest == self.last_event_id:
            return False
        labels = self.labels_now()
        before = self.learner.labels
        changed = self.learner.set_labels(labels)
        fresh = [p for p, y in self.learner.labels.items() if before.get(p) != y]
        self._waiting.append((newest, fresh))
        self.last_event_id = newest
        if self._not_here is None and self.store.last_sample_id() > self.sample_ids[-1]:
            since = self.store.events(after=self.learned_event_id)
            self._not_here = next((e.id for e in since if e.sample_id > self.sample_ids[-1]), None)
        return changed

    def improve(self, steps: int) -> None:
        for _ in range(steps):
            self.pause()
            self.learner.take_step()
            self.seconds += self.learner.step_seconds
        while self._waiting and not any(self.learner.lacks_steps(p) for p in self._waiting[0][1]):
            learned = self._waiting.pop(0)[0]
            self.learned_event_id = learned if self._not_here is None else min(learned, self._not_here - 1)

    # ---------- versions out ----------
    def open_positions(self) -> np.ndarray:
        """Pool images without a decision. Leased ones stay in: whoever gives one back wants it ranked at once."""
        return self.pool[~np.isin(self.sample_ids[self.pool], self.store.decided_ids())]

    def labels_now(self) -> dict[int, int]:
        """Position -> class of every label that holds, read from the record: whatever thread asks."""
        index = {class_id: i for i, class_id in enumerate(self.class_ids)}
        named = self.store.labels(purpose=None, split="pool") | _leading(self.store.labels_without_agreement("pool"))
        ids = np.fromiter(named, np.int64, len(named))
        at = np.searchsorted(self.sample_ids, ids).clip(max=len(self.sample_ids) - 1)
        return {
            int(p): index[named[int(i)]]
            for i, p in zip(ids, at, strict=True)
            if self.sample_ids[p] == i and named[int(i)] in index
        }

    def rank(
        self, name: str, probs: np.ndarray, nodes: Graph | None, labels: dict[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """(scores (N,), ranking as sample ids, the acquisition that made it). `nodes`: the graph, None in the warm-up.

        Touches nothing that changes in the steps, so that it may run beside them.
        """
        if nodes is None:  # features and probabilities mean nothing yet
            name = "random"
        labeled = np.fromiter(labels, np.int64, len(labels))
        first = np.empty(0, np.int64) if name == "random" else self._cold_start(labeled)
        open_positions = self.open_positions()
        diversity = control_of(self.store).diversity
        scores, ranking = acquisition.rank(
            name, probs, open_positions, nodes, labeled, first, rng, self._memory, diversity
        )
        self.asked_next = ranking[:SOON]
        return scores, self.sample_ids[ranking], name

    def _cold_start(self, labeled: np.ndarray) -> np.ndarray:
        """Images that stand for the groups of the warmed-up features, until two for each class are labeled."""
        if len(labeled) >= self._first_wanted() or self._prototypes is None:
            return np.empty(0, np.int64)
        return self._prototypes

    def _first_wanted(self) -> int:
        return int(np.clip(2 * len(self.class_ids), 10, 50))

    def _find_prototypes(self) -> None:
        nodes, labels = self.learner.graph, self.learner.labels
        if self._prototypes is None and nodes is not None and len(labels) < self._first_wanted():
            is_open = np.isin(nodes.positions, self.open_positions())
            labeled = nodes.rows_of(np.fromiter(labels, np.int64, len(labels)))
            rows = acquisition.prototypes(
                nodes, self._first_wanted() - len(labels), self.rng, is_open, labeled[labeled >= 0]
            )
            self._prototypes = nodes.positions[rows]

    def publish(self, acquisition_name: str, version: int | None = None, settled: bool = False) -> int:
        """Publish what is known now; the number of the version. FloatingPointError rather than one that is spoilt.

        `settled`: whoever goes on from it need not train, as long as nothing comes.
        """
        learner = self.learner
        if not self.model(learner.ema).is_finite():
            raise FloatingPointError(f"a weight is not finite at step {learner.step}")
        if not self._seen_whole and not learner.warming_up:
            learner.features.refresh(learner.ema, np.arange(len(self.images)), learner.step)
            self._seen_whole = True
        else:
            steps = learner.step - self._published_at_step
            learner.features.refresh_next(learner.ema, min(REFRESHED * steps, MOST_REFRESHED), learner.step)
            held_out = np.union1d(self.gold_positions, self.measure_positions)
            learner.features.refresh(learner.ema, held_out, learner.step)
        if learner.graph is None and not learner.warming_up:
            learner.build_graph()
        self._find_prototypes()
        instant = learner.look()
        vae = learner.finished(instant.head if instant else None)
        self.pause()
        probs = learner.features.probs(vae)
        if not np.isfinite(probs).all():
            raise FloatingPointError(f"a probability is not finite at step {learner.step}")
        learner.keep_mixtures(probs)
        nodes = None if learner.warming_up else learner.graph
        self.pause()
        how = acquisition_name, control_of(self.store).diversity
        scores, ranking, name = self.rank(acquisition_name, probs, nodes, learner.labels, self.rng)
        model = self.model(vae)
        version = self.store.next_version() if version is None else version
        home = published.home(self.project.folder, version)
        labels = len(learner.labels)
        changes = self.flips.version(
            home, self.sample_ids, self.taken_for(probs), self.last_event_id, learner.step, labels
        )

        def save(path: Path) -> None:
            self.pause()
            model.save(path)
            if self.map is not None:
                maps.write(path.parent, self.map)

        self.pause()
        strip = as_pictures(model.strip(STRIP), self.images)
        self.pause()
        published.publish(
            self.project.folder,
            self.store,
            version=version,
            class_ids=self.class_ids,
            acquisition=name,
            last_event_id=self.last_event_id,
            labels=labels,
            steps=learner.step,
            metrics=self.metrics(probs, model)
            | {"changes": as_rows(changes), "settled": settled, "images": len(self.images)},
            arrays={
                "sample_ids": self.sample_ids,
                "probs": probs,
                "scores": scores,
                "ranking": ranking,
                "embeddings": learner.features.latents(vae)[0].astype(np.float16),
                "generated": strip,
            },
            save_model=save,
        )
        self.home = home
        published.prune(self.project.folder, self.store)
        self.published_event_id, self._published_at_step = self.last_event_id, learner.step
        self.published_how = how
        self.look = None if nodes is None or instant is None else (home, instant)
        return version

    def taken_for(self, probs: np.ndarray) -> np.ndarray:
        """Class ids (N,) of the likeliest classes."""
        return np.array(self.class_ids, np.int64)[probs.argmax(1)]

    def _map_of(self, files: Path) -> maps.Map | None:
        """The map beside a published version, with room for the images imported since."""
        try:
            ids = np.load(files / "sample_ids.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        found = maps.read(files, len(ids))
        return None if found is None else found.of(ids, self.sample_ids)

    def put_map(self, made: maps.Map) -> None:
        """A new map: beside the newest version now, and beside every one to come."""
        if len(made.places) != len(self.sample_ids):  # it was begun before images were added
            return
        self.map = made
        if self.home is not None:
            maps.write(self.home, made)

    def model(self, vae: SSVAE) -> checkpoint.Model:
        """The published weights as everybody else sees them."""
        pseudo = self.learner.pseudo_labels
        header = {
            "classes": self._names(),
            "class_ids": self.class_ids,
            "last_event_id": self.last_event_id,
            "labels": len(self.learner.labels),
            "steps": self.learner.step,
            "trust": [[round(r, 3) for r in of.ratios] for of in (pseudo.trust, pseudo.network_trust)],
        }
        return checkpoint.Model(vae, self.learner.mixtures, header, self.learner.own_layer)

    def _names(self) -> list[str]:
        names = {c.id: c.name for c in self.store.classes(archived=True)}
        return [names[c] for c in self.class_ids]

    def metrics(self, probs: np.ndarray, model: checkpoint.Model) -> dict[str, Any]:
        """What the page shows of this version; a figure that cannot be had is absent."""
        learner = self.learner
        found: dict[str, Any] = {
            "losses": {name: round(value, 4) for name, value in (learner.losses | learner.parts).items()},
            "step_ms": round(1000 * learner.step_seconds, 1),
            "seconds": round(self.seconds, 1),
            "learned_event_id": self.learned_event_id,
        }
        if self.setbacks:
            found["setbacks"] = self.setbacks
        if len(self.validation):
            terms = {name: float(v.mean()) for name, v in model.elbo_terms(self.images[self.validation]).items()}
            terms["elbo"] = terms["log_px"] - terms["kl_z"] - terms["kl_y"]
            found |= {name: round(value, 3) for name, value in terms.items()} | {"validation_n": len(self.validation)}
        index = {class_id: i for i, class_id in enumerate(self.class_ids)}
        known = self._positions(np.sort(np.fromiter(self.gold, np.int64, len(self.gold))))
        known = np.intersect1d(self.gold_positions, known)  # without images of archived classes
        gold = [index.get(self.gold[int(i)], -1) for i in self.sample_ids[known]]
        found |= _accuracy("gold", probs[known], gold)
        measured = measured_labels(self.store)
        positions = self._positions(np.sort(np.fromiter(measured, np.int64, len(measured))))
        labels = [index.get(measured[int(i)], -1) for i in self.sample_ids[positions]]
        return found | _accuracy("measured", probs[positions], labels)


def _leading(given: dict[int, list[int]]) -> dict[int, int]:
    """What is learned from labels that people do not agree on yet: the one that most of them gave, of a tie nothing."""
    leading = {}
    for sample_id, class_ids in given.items():
        most = Counter(class_ids).most_common(2)
        if len(most) == 1 or most[0][1] > most[1][1]:
            leading[sample_id] = most[0][0]
    return leading


def _accuracy(name: str, probs: np.ndarray, labels: Sequence[int]) -> dict[str, Any]:
    """{name_accuracy, name_n}, or nothing when there is nothing to measure on."""
    if not len(labels):
        return {}
    right = probs.argmax(1) == np.asarray(labels)
    return {f"{name}_accuracy": round(float(right.mean()), 4), f"{name}_n": len(labels)}
