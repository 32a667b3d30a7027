"""The commands: parse, build, call, print. Heavy imports stay inside, so that `labeler --help` is quick."""

from labeler.cli import page, people, projects, record, results, safety  # registers commands, in the order of the help
from labeler.cli.base import app

__all__ = ["app", "page", "people", "projects", "record", "results", "safety"]
