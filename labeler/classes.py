"""What may become of a project's classes at any time, by their names: project.classes.merge(["kitten"], into="cat")."""

from collections.abc import Iterable, Sequence
from typing import Any

from storage import Class, Guideline, Store
from storage.classes import composed, short, shown

Names = Sequence[str | int]


class Classes:
    """Classes are given by name or by id. KeyError for one there is not; ValueError for what cannot be done with one.

    A name means the class in use or merged that has it, else the newest archived one. `annotator`: who decided it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, names: Sequence[str], annotator: str | None = None) -> list[Class]:
        return self._store.add_classes(names, annotator)

    def rename(self, which: str | int, name: str, annotator: str | None = None) -> None:
        self._store.rename_class(self.id(which), name, annotator)

    def recolour(self, which: str | int, colour: str, annotator: str | None = None) -> None:
        """`colour` as #rrggbb."""
        self._store.recolour_class(self.id(which), colour, annotator)

    def key(self, which: str | int, key: str, annotator: str | None = None) -> None:
        """'' for none. The class that has it gets the other's in exchange."""
        self._store.key_class(self.id(which), key, annotator)

    def reorder(self, which: Names, keys: bool = False, annotator: str | None = None) -> None:
        """These in front, in this order. `keys`: deal the keys anew as well."""
        self._store.reorder_classes(self.ids(which), keys, annotator)

    def archive(self, which: Names, annotator: str | None = None) -> None:
        self._store.archive_classes(self.ids(which), annotator)

    def restore(self, which: Names, annotator: str | None = None) -> None:
        every = sorted(self._store.classes(archived=True), key=lambda one: (not one.archived, -one.id))
        self._store.restore_classes(list(dict.fromkeys(self.id(one, every) for one in which)), annotator)

    def merge(self, which: Names, into: str | int, annotator: str | None = None) -> None:
        """From now on their labels, given and to come, count as those of `into`."""
        self._store.merge_classes(self.ids(which), self.id(into), annotator)

    def unmerge(self, which: Names, annotator: str | None = None) -> None:
        self._store.unmerge_classes(self.ids(which), annotator)

    def guideline(self, which: str | int) -> Guideline:
        """What the class means, in words and in examples; empty where nobody said."""
        return self._store.guideline(self.id(which))

    def set_guideline(
        self,
        which: str | int,
        text: str | None = None,
        examples: Iterable[int | str] | None = None,
        annotator: str | None = None,
    ) -> Guideline:
        """Up to 4,000 characters; up to 8 samples that are labeled as the class. None leaves what is."""
        chosen = None if examples is None else self._sample_ids(examples)
        return self._store.set_guideline(self.id(which), text, chosen, annotator)

    def split(
        self, which: str | int, name: str, samples: Iterable[int | str], annotator: str = "me"
    ) -> tuple[Class, str]:
        """A new class with these samples (ids, or names of images) of a class: (it, group_id of the label events)."""
        return self._store.split_class(self.id(which), name, self._sample_ids(samples), annotator)

    def unsplit(self, group_id: str, annotator: str | None = None) -> list[Class]:
        """Archive the classes that this split made, where no label is left of them: returns these.

        Called when the group's labels were undone. Nothing is done to a class that was labeled or merged since.
        """
        made = {change.now.id for change in self._store.class_events() if change.group_id == group_id}
        own, root = self._store.label_counts(), self._store.roots()
        empty = [
            one
            for one in self._store.classes()
            if one.id in made and not any(n for class_id, n in own.items() if root[class_id] == one.id)
        ]
        self._store.archive_classes([one.id for one in empty], annotator)
        return empty

    def id(self, which: str | int, among: Sequence[Class] | None = None) -> int:
        """Id of a class by its name, that of the first `among` which has it."""
        if not isinstance(which, str):
            return int(which)
        every = self._store.classes(archived=True)
        among = among or sorted(every, key=lambda one: (one.archived, -one.id))
        found = next((one.id for one in among if composed(one.name) == composed(which)), None)
        if found is None:
            names = ", ".join(short(one.name) for one in every)
            raise KeyError(f"There is no class {shown(which)}; the classes are {names}.")
        return found

    def ids(self, which: Names) -> list[int]:
        return list(dict.fromkeys(self.id(one) for one in which))

    def _sample_ids(self, samples: Iterable[int | str]) -> list[int]:
        """KeyError for a name that no sample has, or more than one."""
        samples = list(samples)
        if all(not isinstance(one, str) for one in samples):
            return [int(one) for one in samples]
        of_name: dict[str, list[int]] = {}
        for sample in self._store.samples():
            of_name.setdefault(sample.name, []).append(sample.id)
        ids = []
        for one in samples:
            found = of_name.get(one, []) if isinstance(one, str) else [int(one)]
            if len(found) != 1:
                many = "There is no sample" if not found else f"{len(found)} samples are"
                raise KeyError(f"{many} named {shown(str(one))}. Give sample ids: labeler export writes them.")
            ids += found
        return ids


def listed(store: Store) -> list[dict[str, Any]]:
    """Every class as `labeler classes` reports it, those in use first; `labels` of these include what is merged in."""
    every = sorted(store.classes(archived=True), key=lambda one: not one.active)
    names, own, gold = {one.id: one.name for one in every}, store.label_counts(), store.gold_counts()
    per_class, root, guidelines = store.counts()["per_class"], store.roots(), store.guidelines()
    return [
        {
            "id": one.id,
            "name": one.name,
            "key": one.key,
            "colour": one.colour,
            "status": "active" if one.active else "archived" if one.archived else "merged",
            "merged_into": names.get(one.merged_into) if one.merged_into is not None else None,
            "labels": per_class.get(one.id, own.get(one.id, 0)),
            "gold": sum(n for c, n in gold.items() if (root[c] if one.active else c) == one.id),
            "guideline": guidelines[one.id].text if one.id in guidelines else "",
            "examples": list(guidelines[one.id].examples) if one.id in guidelines else [],
        }
        for one in every
    ]
