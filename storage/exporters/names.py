"""File and folder names that are right on every system, for class and sample names that need not be."""

import re
import unicodedata

FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
MOST_BYTES = 120  # of the 255 that file systems take, so that a suffix and an extension fit


class Names:
    """Gives every name it is asked for a safe form of its own; two that differ only by case are told apart."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}  # folded name -> number of the newest that was asked for so: thousands may be

    def unique(self, name: str, suffix: str = "") -> str:
        stem = safe(name)
        candidate = f"{stem}{suffix}"
        first = folded(candidate)
        n = self._taken.get(first, 1)
        while folded(candidate) in self._taken:
            n += 1
            candidate = f"{stem}-{n}{suffix}"
        self._taken[first] = n
        self._taken.setdefault(folded(candidate), 1)
        return candidate


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def safe(name: str) -> str:
    """One path component: no separators, no device names, not hidden, not too long, never empty."""
    encoded = FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).encode("utf-8", "replace")
    name = encoded[:MOST_BYTES].decode("utf-8", "ignore").rstrip(". ").lstrip(" ")
    if name.startswith(".") or name.split(".")[0].strip().casefold() in RESERVED:
        name = f"_{name}"
    return name or "_"
