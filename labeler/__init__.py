"""Labeler: label images with one key each, while a model learns from every label."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labeler.project import Project

__all__ = ["Project"]


def __getattr__(name: str) -> Any:
    if name == "Project":  # the commands' --help should not wait for SQLAlchemy
        from labeler.project import Project

        return Project
    raise AttributeError(f"module 'labeler' has no attribute {name!r}")
