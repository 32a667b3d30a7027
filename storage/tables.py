"""The tables, for writing statements. What makes them is in migrations/: a test holds the two together."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger as Integer  # 64 bits, as SQLite's are
from sqlalchemy import Column, Float, MetaData, Table, Text

APPLICATION = "labeler"

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text),
)

classes = Table(
    "classes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text),
    Column("key", Text),
    Column("colour", Text),
    Column("position", Integer),
    Column("archived_at", Float),
    Column("merged_into", Integer),
)

# What a class is from this change on; `classes` holds the newest of each, written in the same transaction.
class_events = Table(
    "class_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text),
    Column("class_id", Integer),
    Column("name", Text),
    Column("key", Text),
    Column("colour", Text),
    Column("position", Integer),
    Column("archived_at", Float),
    Column("merged_into", Integer),
    Column("came_from", Integer),
    Column("annotator_id", Integer),
    Column("time", Float),
    Column("after_event_id", Integer),
    Column("group_id", Text),
)

# What a class means from then on: the newest of each class holds. `examples`: a JSON list of sample ids.
guideline_events = Table(
    "guideline_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("class_id", Integer),
    Column("text", Text),
    Column("examples", Text),
    Column("annotator_id", Integer),
    Column("time", Float),
    Column("after_event_id", Integer),
)

annotators = Table(
    "annotators",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text),
    Column("role", Text),
    Column("password_hash", Text),
    Column("created_at", Float),
    Column("disabled_at", Float),
    Column("generation", Integer),
)

imports = Table(
    "imports",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("source", Text),
    Column("kind", Text),
    Column("part", Text),
    Column("split", Text),
    Column("started", Float),
    Column("finished", Float),
    Column("added", Integer),
    Column("duplicates", Integer),
    Column("labels", Integer),
)

rejects = Table(
    "rejects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("import_id", Integer),
    Column("name", Text),
    Column("reason", Text),
)

samples = Table(
    "samples",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sha256", Text),
    Column("name", Text),
    Column("file", Text),
    Column("row", Integer),
    Column("width", Integer),
    Column("height", Integer),
    Column("channels", Integer),
    Column("split", Text),
    Column("gold_class_id", Integer),
    Column("import_id", Integer),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uid", Text),
    Column("kind", Text),
    Column("sample_id", Integer),
    Column("class_id", Integer),
    Column("annotator_id", Integer),
    Column("client", Text),
    Column("time", Float),
    Column("ms", Integer),
    Column("paused", Integer),
    Column("version", Integer),
    Column("acquisition", Text),
    Column("score", Float),
    Column("rank", Integer),
    Column("predicted_class_id", Integer),
    Column("predicted_prob", Float),
    Column("purpose", Text),
    Column("group_id", Text),
    Column("undoes", Text),
    Column("comment", Text),
    Column("review", Integer),
)

# The chain of events (chain.py): written with each event, never changed.
event_links = Table(
    "event_links",
    metadata,
    Column("event_id", Integer, primary_key=True),
    Column("link", Text),
)

# What share of the samples is asked of how many people, from then on.
overlap_events = Table(
    "overlap_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("share", Float),
    Column("times", Integer),
    Column("rng_seed", Integer),
    Column("annotator_id", Integer),
    Column("time", Float),
    Column("after_event_id", Integer),
)

# Derived from events, in the same transaction as each event: what a sample is, once enough people answered.
sample_states = Table(
    "sample_states",
    metadata,
    Column("sample_id", Integer, primary_key=True),
    Column("kind", Text),
    Column("class_id", Integer),
    Column("event_id", Integer),
    Column("annotator_id", Integer),
    Column("purpose", Text),
)

# Derived too: answers to samples that are asked of more people and have no state yet.
open_answers = Table(
    "open_answers",
    metadata,
    Column("sample_id", Integer, primary_key=True),
    Column("annotator_id", Integer, primary_key=True),
    Column("event_id", Integer),
)

leases = Table(
    "leases",
    metadata,
    Column("sample_id", Integer, primary_key=True),
    Column("annotator_id", Integer, primary_key=True),
    Column("client", Text),
    Column("expires", Float),
)

versions = Table(
    "versions",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("time", Float),
    Column("last_event_id", Integer),
    Column("labels", Integer),
    Column("steps", Integer),
    Column("folder", Text),
    Column("acquisition", Text),
    Column("metrics", Text),
    Column("pruned", Integer),
)

# How well a person told real images from drawn ones; `answers` is JSON, see storage/blind.py.
blind_tests = Table(
    "blind_tests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uid", Text),
    Column("annotator_id", Integer),
    Column("version", Integer),
    Column("time", Float),
    Column("temperature", Float),
    Column("rng_seed", Integer),
    Column("answers", Text),
)

processes = Table(
    "processes",
    metadata,
    Column("role", Text, primary_key=True),
    Column("holder", Text),
    Column("pid", Integer),
    Column("host", Text),
    Column("info", Text),
    Column("started", Float),
    Column("heartbeat", Float),
)

settings = Table(
    "settings",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text),
)


def schema_in(meta_rows: Iterable[Any]) -> int | None:
    """The number of the last migration that (key, value) of `meta` tell of; None where they are not ours."""
    rows = {str(key): str(value) for key, value in meta_rows}
    if rows.get("application") != APPLICATION or not rows.get("schema", "").isdecimal():
        return None
    return int(rows["schema"])
