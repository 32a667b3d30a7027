"""The commands: parse, build, call, print. Heavy imports stay inside, so that `labeler --help` is quick."""

from labeler.cli import page, projects, results, safety  # each registers its commands, in the order of the help
from labeler.cli.base import app

__all__ = ["app", "page", "projects", "results", "safety"]
