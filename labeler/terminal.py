"""What commands say on a terminal: a line each, whatever the names in it hold."""

import sys
import unicodedata

JOINERS = "\u200c\u200d"  # they hold letters and emoji together


def tell(line: str, error: bool = False) -> None:
    print(printable(line), file=sys.stderr if error else sys.stdout)


def printable(line: str) -> str:
    """One line, whatever a comment or the name of a file holds: a terminal must not take it for commands."""
    return "".join(letter if _is_shown(letter) else "\N{REPLACEMENT CHARACTER}" for letter in line)


def _is_shown(letter: str) -> bool:
    return letter.isprintable() or letter in JOINERS or unicodedata.category(letter) == "Zs"
