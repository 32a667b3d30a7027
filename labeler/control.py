"""How images are asked, and whether the model trains: settings of the project, which page, trainer and scripts read."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from model import ACQUISITIONS
from storage import Store

MOST_MEASURED = 0.9  # of the questions: with nothing else there is nothing to learn from


@dataclass(frozen=True)
class Control:
    """`measure_share`: of all questions those that measure; `random_share`: of the others those drawn at random.

    `diversity`: how much questions that come together are spread out (model/acquisition.py); 0 not at all, 1 as usual.
    `paused`: no gradient steps are taken; labels count all the same, and rank.
    """

    paused: bool = False
    acquisition: str = ACQUISITIONS[0]
    random_share: float = 0.0
    measure_share: float = 0.1
    diversity: float = 1.0


NAMES = tuple(field.name for field in fields(Control))


def control_of(store: Store) -> Control:
    """As it is now; one look at the record."""
    return Control(**store.settings(NAMES))


def change(store: Store, changes: Mapping[str, Any]) -> Control:
    """Change some of it for everybody, and what it is then. ValueError, and no change, for a value that will not do."""
    for name, value in changes.items():
        _check(name, value)
    store.set_settings(changes)
    return control_of(store)


def _check(name: str, value: Any) -> None:
    most = {"random_share": 1.0, "measure_share": MOST_MEASURED, "diversity": 3.0}
    if name not in NAMES:
        raise ValueError(f"There is no {name!r} to change; there are {', '.join(NAMES)}.")
    if name == "acquisition" and value not in ACQUISITIONS:
        raise ValueError(f"There is no acquisition {value!r}; choose one of {', '.join(ACQUISITIONS)}.")
    if name == "paused" and not isinstance(value, bool):
        raise ValueError(f"paused is true or false, not {value!r}.")
    if name in most and not (isinstance(value, int | float) and 0 <= value <= most[name]):
        raise ValueError(f"{name} is between 0 and {most[name]:g}, not {value!r}.")
