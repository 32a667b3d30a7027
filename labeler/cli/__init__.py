"""The commands: parse, build, call, print. Heavy imports stay inside, so that `labeler --help` is quick."""

from labeler.cli import classes, page, projects, results  # each registers its commands, in the order of the help
from labeler.cli.base import app

__all__ = ["app", "classes", "page", "projects", "results"]
