"""Tables of measured rows that go with the code: CSV files whose rows name their recipe, and Markdown made of them."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

Row = dict[str, Any]
DIFFERENCE = ("difference", "95% interval", "pairs")


@dataclass(frozen=True)
class Table:
    """Rows in a file that goes with the code, all of one recipe."""

    path: Path
    recipe: str

    def rows(self) -> list[Row]:
        """SystemExit where rows of another recipe are among them: their figures do not go with ours."""
        if not self.path.exists():
            return []
        with open(self.path, newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f))
        others = sorted({str(row.get("recipe")) for row in rows} - {self.recipe})
        if others:
            raise SystemExit(
                f"{self.path} holds rows of recipe {', '.join(others)}, but today's is {self.recipe}: delete it to "
                "measure anew (git keeps it), or go back to the LearnerConfig and the Pace that it was made with."
            )
        return rows

    def holds(self, **wanted: Any) -> bool:
        return any(all(row.get(name) == str(value) for name, value in wanted.items()) for row in self.rows())

    def add(self, rows: Sequence[Row]) -> None:
        """In one go, so that there is all of a run or nothing. A column that is new stays empty in earlier rows."""
        rows = [*self.rows(), *({**row, "recipe": self.recipe} for row in rows)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".part")
        with open(draft, "w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        draft.replace(self.path)


def grouped(rows: Sequence[Row], name: str) -> list[tuple[str, list[Row]]]:
    return [(value, [r for r in rows if r[name] == value]) for value in dict.fromkeys(r[name] for r in rows)]


def column(rows: Sequence[Row], name: str) -> dict[str, float]:
    """rng seed -> value."""
    return {row["rng_seed"]: float(row[name]) for row in rows if row.get(name)}


def spread(values: dict[str, float]) -> str:
    of = list(values.values())
    return f"{np.mean(of):.4g} [{min(of):.4g}, {max(of):.4g}]" if of else "none yet"


def difference(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Cells of DIFFERENCE: mean of after less before, and its interval by Student's t for as few pairs as these."""
    of = np.array([after[s] - before[s] for s in before if s in after])
    if len(of) < 2:
        return [*(f"{value:+.4f}" for value in of), *[""] * (2 - len(of)), str(len(of))]
    half = stats.t.ppf(0.975, len(of) - 1) * of.std(ddof=1) / len(of) ** 0.5
    return [f"{of.mean():+.4f}", f"{of.mean() - half:+.4f} to {of.mean() + half:+.4f}", str(len(of))]


def header(*names: str) -> list[str]:
    return [cells(*names), "| :--- " + "| ---: " * (len(names) - 1) + "|"]


def cells(*values: Any) -> str:
    return "| " + " | ".join(map(str, values)) + " |"
