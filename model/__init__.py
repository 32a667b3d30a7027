"""The semi-supervised VAE: network, learner, acquisition, generation. Imports neither labeler nor storage."""

from typing import Any

__all__ = ["ACQUISITIONS", "load"]

# names of model/acquisition.py, the default in front
ACQUISITIONS = ("coverage", "margin", "least_confident", "entropy", "bald", "badge", "typicality", "random")


def __getattr__(name: str) -> Any:
    if name == "load":  # torch takes seconds to import; `model.images` alone does not need it
        from model.checkpoint import load

        return load
    raise AttributeError(f"module 'model' has no attribute {name!r}")
