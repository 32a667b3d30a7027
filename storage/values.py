"""The plain values that cross from the record to other rooms: frozen dataclasses, no database rows."""

from dataclasses import dataclass
from typing import Any

STATE_KINDS = ("label", "skip", "unsure", "flag")  # these decide a sample
DISPUTED = "disputed"  # the state of a sample that people who were asked answered differently, as many each way
EVENT_KINDS = (*STATE_KINDS, "undo", "comment")
SPLITS = ("pool", "measure", "gold")
ROLES = ("annotator", "reviewer", "admin")  # each may do what those before it may
PAUSE_MS = 60_000  # longer than this is a pause, not time spent on the image


@dataclass(frozen=True)
class Class:
    """One of the classes a sample can be labeled as. `id` never changes; `position` is the order on screen.

    `merged_into`: the id of the class that its labels count as, which may be merged itself.
    """

    id: int
    name: str
    key: str
    colour: str
    position: int
    archived: bool
    merged_into: int | None = None

    @property
    def active(self) -> bool:
        """Whether images are labeled as it: neither archived nor merged."""
        return not self.archived and self.merged_into is None


@dataclass(frozen=True)
class ClassEvent:
    """A change of a class, and what the class is from then on.

    `came_from`: the class that a split or an unmerged one was taken out of. `after_event_id`: the newest label event
    then (0: none yet). Changes made together share a `group_id`.
    """

    id: int
    kind: str
    now: Class
    came_from: int | None
    annotator: str | None
    time: float
    after_event_id: int
    group_id: str | None


@dataclass(frozen=True)
class Guideline:
    """What a class means: a text, and samples chosen as examples, of which `shown` are labeled as the class now.

    `event_id` is the newest change of it; 0: there was none.
    """

    class_id: int
    text: str = ""
    examples: tuple[int, ...] = ()
    shown: tuple[int, ...] = ()
    event_id: int = 0


@dataclass(frozen=True)
class GuidelineEvent:
    """A change of a guideline, and what it is from then on. `after_event_id`: the newest label event then."""

    id: int
    class_id: int
    text: str
    examples: tuple[int, ...]
    annotator: str | None
    time: float
    after_event_id: int


class ChangedMeanwhile(ValueError):
    """Somebody else changed what was to be changed. The message says who."""


@dataclass(frozen=True)
class Account:
    """An annotator who signs in. `password_hash` is a one-way hash with its salt and parameters.

    `generation` grows when the account is disabled, or has another password or role: sign-ins of before end for good.
    """

    name: str
    role: str
    password_hash: str
    disabled: bool
    generation: int = 0


@dataclass(frozen=True)
class NewSample:
    """An image about to be stored. `row` is its row when `file` is a pack of many images."""

    sha256: str
    name: str
    file: str
    row: int | None
    width: int
    height: int
    channels: int
    split: str = "pool"
    gold_class_id: int | None = None
    import_id: int | None = None


@dataclass(frozen=True)
class Sample:
    """A stored image. `file` is relative to the project folder, or absolute where the original was not copied."""

    id: int
    sha256: str
    name: str
    file: str
    row: int | None
    width: int
    height: int
    channels: int
    split: str
    gold_class_id: int | None


@dataclass(frozen=True)
class NewEvent:
    """One press of a key, to be appended. `uid` is made by the client, so that sending it again stores it once.

    `review`: a reviewer's decision, which stands above what everybody answered, or the undo of one.
    """

    uid: str
    kind: str
    sample_id: int
    class_id: int | None = None
    annotator: str = ""
    client: str = ""
    ms: int | None = None
    version: int | None = None
    acquisition: str | None = None
    score: float | None = None
    rank: int | None = None
    predicted_class_id: int | None = None
    predicted_prob: float | None = None
    purpose: str = "learn"
    group_id: str | None = None
    undoes: str | None = None
    comment: str | None = None
    review: bool = False


@dataclass(frozen=True)
class Event:
    """An event as stored. `time` is seconds since 1970; `paused` marks a sitting interrupted for over a minute."""

    id: int
    uid: str
    kind: str
    sample_id: int
    class_id: int | None
    annotator: str
    client: str
    time: float
    ms: int | None
    paused: bool
    version: int | None
    acquisition: str | None
    score: float | None
    rank: int | None
    predicted_class_id: int | None
    predicted_prob: float | None
    purpose: str
    group_id: str | None
    undoes: str | None
    comment: str | None
    review: bool


@dataclass(frozen=True)
class Given:
    """An answer as it was given. `in_group`: with others in one action, which share its time evenly."""

    annotator: str
    kind: str
    time: float
    ms: int | None
    paused: bool
    in_group: bool


@dataclass(frozen=True)
class Overlap:
    """From an event on, a `share` of the samples is asked of `times` people. `annotator`: who decided that."""

    share: float
    times: int
    rng_seed: int
    annotator: str | None
    time: float
    after_event_id: int


@dataclass(frozen=True)
class Answer:
    """What one person says of a sample that is asked of several. `class_id`: what the label counts as, see `roots`."""

    sample_id: int
    annotator: str
    kind: str
    class_id: int | None
    event_id: int


@dataclass(frozen=True)
class State:
    """What a sample is now: its newest event that is not undone. `class_id`: what the label counts as, see `roots`.

    Of a sample that several people are asked it is what most of them say, with the newest such event; `kind` may be
    "disputed" there.
    """

    sample_id: int
    kind: str
    class_id: int | None
    event_id: int
    annotator: str
    purpose: str


@dataclass(frozen=True)
class Moment:
    """A moment of the record: `event_id` was the newest event (0: there was none), recorded at `recorded`.

    Images and versions that were there at `time` count: the time asked for or, where an event was, the end of its
    reign, which is when the next one came or now. Both are seconds since 1970.
    """

    event_id: int
    recorded: float | None
    time: float


@dataclass(frozen=True)
class Entry:
    """A line of the history: an event, its sample's name, the id of the undo that retracted it if one did.

    An undo also has what it names: `target` is that event's id (None where there is no such event), kind and class id.
    """

    event: Event
    name: str
    undone_by: int | None
    target: int | None
    target_kind: str | None
    target_class_id: int | None


@dataclass(frozen=True)
class Version:
    """A published model. `pruned` ones keep their row (the learning curve) but not their arrays."""

    version: int
    time: float
    last_event_id: int
    labels: int
    steps: int
    folder: str
    acquisition: str
    metrics: dict[str, Any]
    pruned: bool


@dataclass(frozen=True)
class BlindAnswer:
    """What was said of one image of a blind test: a real one, which is a sample, or one that was drawn as a class."""

    sample_id: int | None
    class_id: int | None
    said_real: bool
    ms: int | None = None

    @property
    def real(self) -> bool:
        return self.sample_id is not None

    @property
    def right(self) -> bool:
        return self.said_real == self.real


@dataclass(frozen=True)
class BlindTest:
    """One whole blind test, answers in the order in which the images were shown."""

    uid: str
    annotator: str
    version: int
    time: float
    temperature: float
    rng_seed: int
    answers: tuple[BlindAnswer, ...]


@dataclass(frozen=True)
class Import:
    """One import as it went. `finished` is None for one that was interrupted."""

    id: int
    source: str
    kind: str
    part: str
    split: str
    started: float
    finished: float | None
    added: int
    duplicates: int
    labels: int


@dataclass(frozen=True)
class Reject:
    """A file that an import left out, and why."""

    import_id: int
    name: str
    reason: str


class Conflict(ValueError):
    """An event that is not stored because of one that is, or of whose that one is. Sent again, it is refused again."""


class AlreadyRunning(RuntimeError):
    """Another live process holds this role. `info` is what that process said about itself (url, pid, host)."""

    def __init__(self, role: str, info: dict[str, Any]) -> None:
        where = info.get("url") or f"process {info.get('pid')} on {info.get('host')}"
        super().__init__(f"This project already has a running {role}: {where}. Use that one, or stop it first.")
        self.role = role
        self.info = info
