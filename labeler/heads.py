"""The head of the chain of events, kept beside the record: labels.head tells later whether the end was taken off."""

import json
import os
import time
from pathlib import Path

from labeler.moments import told
from storage import Store

FILE = "labels.head"


def note(folder: Path, store: Store) -> None:
    """Keep the newest event and its link, unless the record no longer goes on from what is kept."""
    head = store.head()
    if head is None or kept(folder)[:2] == head or fault(folder, store) is not None:
        return
    draft = folder / f".{FILE}"
    draft.write_text(json.dumps({"event_id": head[0], "link": head[1], "time": time.time()}) + "\n", encoding="utf-8")
    os.replace(draft, folder / FILE)


def fault(folder: Path, store: Store) -> str | None:
    """What the kept head says against the record, in one line; None where the record goes on from it."""
    event_id, link, when = kept(folder)
    if not event_id or store.link(event_id) == link:
        return None
    return (
        f"The record no longer has event {event_id} as {FILE} noted it, {told(when)}: it was cut or changed, or an "
        f"older copy was put in its place. If that is as it should be, delete {FILE}."
    )


def kept(folder: Path) -> tuple[int, str, float]:
    """(event id, link, when) that were noted; (0, "", 0) where nothing can be read: then nothing is known."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return int(found["event_id"]), str(found["link"]), float(found["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, "", 0.0
