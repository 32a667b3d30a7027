"""The blind test: a person tells real images from drawn ones, and the score measures how well a version draws.

Half are images of the pool, drawn at random (never measuring ones), half were drawn by the version; all of them at
working size, as PNG files of one length, in a random order. Which is which is known here alone until the last answer.
"""

import io
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from labeler.project import Project
from labeler.sketches import Sketches
from storage import BlindAnswer, BlindTest, Store, Version

FEWEST, USUAL, MOST = 10, 20, 50
BEGUN = 100  # tests that are remembered until they are answered
TEMPERATURE = 1.0  # as varied as the class


@dataclass
class Begun:
    """A test that waits for its answers. `truth`: (sample id, None) or (None, class id), as the images are shown."""

    annotator: str
    version: int
    rng_seed: int
    truth: list[tuple[int | None, int | None]]
    lot: "Future[bytes | None]"
    places: list[int] = field(repr=False)  # of each image shown its row in the lot


class BlindTests:
    """One project's; threads may share one."""

    def __init__(self, project: Project, sketches: Sketches) -> None:
        self._project, self._sketches = project, sketches
        self._begun: OrderedDict[str, Begun] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, annotator: str, version: Version, n: int) -> str:
        """The id of a new test of n images, rounded down to an even number. ValueError where the pool is too small."""
        rng = np.random.default_rng(secrets.randbits(128))
        pool = self._project.store.sample_ids("pool")
        if len(pool) < n // 2:
            raise ValueError(f"A test of {n} needs {n // 2} images in the pool; there are {len(pool)}. Choose fewer.")
        sample_ids = rng.choice(pool, n // 2, replace=False).tolist()
        class_ids = self._classes(version, n // 2, rng)
        rng_seed = int(rng.integers(2**31))
        lot = self._sketches.have("lot", version.version, tuple(sample_ids), tuple(class_ids), rng_seed)
        rows = [*((sample_id, None) for sample_id in sample_ids), *((None, class_id) for class_id in class_ids)]
        places = rng.permutation(len(rows)).tolist()
        uid = secrets.token_hex(12)
        with self._lock:
            truth = [rows[place] for place in places]
            self._begun[uid] = Begun(annotator, version.version, rng_seed, truth, lot, places)
            while len(self._begun) > BEGUN:
                self._begun.popitem(last=False)
        return uid

    def _classes(self, version: Version, n: int, rng: np.random.Generator) -> list[int]:
        """Classes to draw, as often as the newest version takes images for them: their shares are not to tell."""
        known = sorted({c.id for c in self._project.store.classes()} & set(version.metrics["class_ids"]))
        if not known:
            raise ValueError("None of the classes that this version draws is left. Choose another version.")
        published = self._project.published()
        if published is None or not len(published.probs):
            return rng.choice(known, n).tolist()
        some = published.probs[rng.integers(len(published.probs), size=20 * n)].argmax(1)
        taken = [one for one in np.array(published.class_ids)[some].tolist() if one in known]
        return [*taken[:n], *rng.choice(known, max(0, n - len(taken))).tolist()]

    def lot(self, annotator: str, uid: str) -> "Future[bytes | None]":
        """The images of a test, once drawn: see `shown`. KeyError for a test that is not this person's."""
        return self._of(annotator, uid).lot

    def shown(self, annotator: str, uid: str, lot: bytes) -> list[bytes]:
        """PNG files in the order of the test."""
        pictures = np.load(io.BytesIO(lot), allow_pickle=False)
        return [_as_png_of_one_length(pictures[place]) for place in self._of(annotator, uid).places]

    def answer(self, annotator: str, uid: str, said: Sequence[tuple[bool, int | None]]) -> BlindTest:
        """Keep what was said, (real, ms) of each image. A test is answered once: sent again, what was kept comes back.

        KeyError for a test that is not this person's, ValueError for more or fewer answers than it has images.
        """
        kept = self._project.store.blind_test(uid)
        if kept is not None and kept.annotator == annotator:
            return kept
        begun = self._of(annotator, uid)
        if len(said) != len(begun.truth):
            raise ValueError(f"The test has {len(begun.truth)} images; {len(said)} answers came. Answer each of them.")
        answers = [BlindAnswer(*true, real, ms) for true, (real, ms) in zip(begun.truth, said, strict=True)]
        test = self._project.store.record_blind_test(
            uid, annotator, begun.version, TEMPERATURE, begun.rng_seed, answers
        )
        with self._lock:
            self._begun.pop(uid, None)
        return test

    def _of(self, annotator: str, uid: str) -> Begun:
        with self._lock:
            begun = self._begun.get(uid)
        if begun is None or begun.annotator != annotator:
            raise KeyError("This test is not known (any more). Begin another one.")
        return begun


def _as_png_of_one_length(picture: np.ndarray) -> bytes:
    """Not compressed: a smooth drawing would make a smaller file than an image with noise."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", compress_level=0)
    return out.getvalue()


def score(answers: Sequence[BlindAnswer]) -> dict[str, Any]:
    """How many were told right, with Wilson's 95% interval; 0.5 is guessing. `fooled`: drawn ones taken for real."""
    from scipy.stats import binomtest  # half a second, which a report without a test need not wait

    right, n = sum(one.right for one in answers), len(answers)
    drawn = [one for one in answers if not one.real]
    return {
        "n": n,
        "right": right,
        "score": right / n,
        "interval": [float(end) for end in binomtest(right, n).proportion_ci(method="wilson")],
        "drawn": len(drawn),
        "fooled": sum(one.said_real for one in drawn),
    }


def scores(store: Store, until: float | None = None) -> list[dict[str, Any]]:
    """`score` of each version that was tested, of all its tests together, oldest version first."""
    labels = {version.version: version.labels for version in store.versions()}
    tests = store.blind_tests(until)
    found = []
    for version in sorted({test.version for test in tests}):
        mine = [test for test in tests if test.version == version]
        about = {"version": version, "labels": labels[version], "tests": len(mine)}
        people = len({test.annotator for test in mine})
        found.append({**about, "people": people, **score([one for test in mine for one in test.answers])})
    return found
