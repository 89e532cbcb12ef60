"""Runs that differ in nothing but their training seed, folded into one row of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engines.comparison import Trained
from engines.config import ConfigError
from engines.evaluation import Row, model_row
from engines.lineage import level, seed_of, settings_of, sources_of
from engines.suite_records import changes

UNEQUAL = ("interrupted",)  # how a training ended that is no repetition of another


@dataclass(frozen=True)
class Recipe:
    """One row: a single run, or trainings of the same settings by their seeds, in order."""

    name: str
    members: tuple[Trained, ...]
    plain: str  # the name without the number of seeds

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(_seed(member) for member in self.members)


def single(member: Trained) -> Recipe:
    """A row of its own."""
    return Recipe(member.name, (member,), member.name)


def fold_seeds(members: Sequence[Trained]) -> tuple[list[Recipe], list[str]]:
    """Rows for `members`, those of one configuration's name that differ only in the seed together.

    The rows stand where their first member stood. Also a remark for each run that has the name of
    folded ones and is a row of its own, which says what differs; of two runs with the same seed
    the later one counts, with a remark.
    """
    rows: dict[int, Recipe] = {}
    remarks: list[str] = []
    for name in dict.fromkeys(member.config["name"] for member in members):
        places = [i for i, member in enumerate(members) if member.config["name"] == name]
        groups = _alike([members[i] for i in places])
        folded = [group for group in groups if len({_seed(m) for m in group}) > 1]
        for group in groups:
            place = next(i for i in places if members[i] is group[0])
            if group in folded:
                rows[place] = _recipe(name, group, len(folded) > 1, remarks)
                continue
            for member in group:
                rows[next(i for i in places if members[i] is member)] = single(member)
                if folded:
                    remarks.append(_apart(member, folded[0][0]))
    return [rows[place] for place in sorted(rows)], remarks


def _alike(members: Sequence[Trained]) -> list[list[Trained]]:
    """Groups of members whose settings are equal but for the seed."""
    groups: list[list[Trained]] = []
    for member in members:
        for group in groups:
            if not _differences(member, group[0]):
                group.append(member)
                break
        else:
            groups.append([member])
    return groups


def _recipe(name: str, group: list[Trained], several: bool, remarks: list[str]) -> Recipe:
    latest = {_seed(member): member for member in group}
    for member in group:
        if latest[_seed(member)] is not member:
            remarks.append(
                f"{member.name} is left out: {latest[_seed(member)].name} was trained later with "
                f"the same settings and the same seed {_seed(member)}."
            )
    chosen = tuple(latest[seed] for seed in sorted(latest))
    plain = chosen[0].name if several else name
    images = {(m.training or {}).get("images") for m in chosen}
    if len(images) > 1:
        shown = ", ".join(
            f"seed {_seed(m)}: {(m.training or {}).get('images', 'unknown')}" for m in chosen
        )
        remarks.append(f"{plain}: its seeds were trained on different numbers of images ({shown}).")
    sources = [source for member in chosen for source in set(sources_of(member))]
    if shared := sorted({source for source in sources if sources.count(source) > 1}):
        remarks.append(
            f"{plain}: its seeds share {', '.join(shared)}, so their spread is that of the last "
            "training only."
        )
    return Recipe(f"{plain} ({len(chosen)} seeds)", chosen, plain)


def _apart(member: Trained, other: Trained, shown: int = 4) -> str:
    found = _differences(member, other)
    if not found:
        return f"{member.name} is a row of its own."
    more = f"; and {len(found) - shown} more" if len(found) > shown else ""
    listed = "; ".join(found[:shown]).replace(" (now ", f" ({other.name}: ")
    return f"{member.name} is a row of its own, it differs in more than the seed: {listed}{more}."


def _differences(member: Trained, other: Trained) -> list[str]:
    """What is not the same in two trainings, the seed aside."""
    if member is not other and None in (_seed(member), _seed(other)):
        return ["its members have different seeds, or none"]
    ended = [(each.training or {}).get("reason") for each in (member, other)]
    if any(reason in UNEQUAL for reason in ended) and member is not other:
        return [f"ended by {ended[0]} (now {ended[1]})"]
    try:
        return changes(*level(settings_of(member), settings_of(other)))
    except ConfigError as error:
        return [f"its configuration cannot be compared ({error})"]


def _seed(member: Trained) -> int | None:
    return seed_of(member.checkpoint, member.config)


def recipe_row(recipe: Recipe, device: str | torch.device = "auto", flip: bool = False) -> Row:
    """The row of a single run, or the row that is the mean over its seeds; it opens the first."""
    if len(recipe.members) == 1:
        (member,) = recipe.members
        return model_row(recipe.name, member.checkpoint, device, member.training, flip)
    rows = tuple(
        model_row(
            f"{recipe.plain}, seed {seed}",
            member.checkpoint,
            device,
            {**(member.training or {}), "seed": seed},
            flip,
        )
        for seed, member in zip(recipe.seeds, recipe.members, strict=True)
    )
    first = rows[0]
    training = {**first.training, "seeds": len(rows)}
    minutes = [row.training["minutes"] for row in rows if "minutes" in row.training]
    if minutes:
        training["minutes"] = sum(minutes) / len(minutes)
    identity = " & ".join(row.identity for row in rows)
    name = f"{recipe.name} + flip" if flip else recipe.name
    return Row(name, first.kind, identity, first.open, training, rows)


def reference_among(wanted: str | None, recipes: Sequence[Recipe]) -> str | None:
    """`wanted`, or the name of the folded row that goes by it without its number of seeds; where
    the runs of that name are several rows, the first of those with the most seeds."""
    if not wanted:
        return wanted
    plain = {recipe.plain.lower(): recipe.name for recipe in recipes}
    named = [r for r in recipes if r.members[0].config["name"].lower() == wanted.lower()]
    if wanted.lower() in plain or not named:
        return plain.get(wanted.lower(), wanted)
    return max(named, key=lambda recipe: len(recipe.members)).name
