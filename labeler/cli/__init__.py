"""The commands: parse, build, call, print. Heavy imports stay inside, so that `labeler --help` is quick."""

from labeler.cli import (  # each registers its commands
    classes,
    overlap,
    page,
    people,
    projects,
    record,
    results,
    safety,
)
from labeler.cli.base import app

__all__ = ["app", "classes", "overlap", "page", "people", "projects", "record", "results", "safety"]
