"""The frame of the analyses: `evaluate.py analyse <name>`, options in, a report out.

An analysis is a module with `TEXT` (what it tells, one line), `add_arguments(parser)` for the
options of its own, and `analyse(arguments) -> Report`. A new one is a file and a line in ANALYSES.
It is imported when it is named, or for the list in --help: what is slow to import belongs into its
functions.
"""

import argparse
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd
from matplotlib.figure import Figure

from deocclude.data.files import write_text
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.options import at_least
from deocclude.engines.report import figures
from deocclude.engines.report.html import save_html
from deocclude.engines.report.report import Report
from deocclude.engines.report.tables import Table
from deocclude.engines.report.writers import to_markdown
from deocclude.engines.runs import finished
from deocclude.engines.runs import pairs as runs_pairs
from deocclude.engines.runs.finished import INPAINTING, Trained
from deocclude.engines.runs.metadata import WEIGHTS
from deocclude.engines.runs.pairs import Group
from deocclude.engines.runs.released import shipped_for

logger = logging.getLogger(__name__)

ANALYSES = {
    "cka": "deocclude.engines.analysis.cka",
    "umap": "deocclude.engines.analysis.umap",
    "timing": "deocclude.engines.analysis.timing",
    "errors": "deocclude.engines.analysis.errors",
    "uncertainty": "deocclude.engines.analysis.uncertainty",
    "groups": "deocclude.engines.analysis.groups",
}
PROGRAM = "evaluate.py analyse"


def find_analysis(name: str) -> ModuleType:
    """The module of an analysis. ValueError lists the valid names."""
    if name not in ANALYSES:
        raise ValueError(f"analysis {name!r} is not known; valid are {', '.join(ANALYSES)}")
    return import_module(ANALYSES[name])


def plan_analysis(argv: Sequence[str]) -> Callable[[], list[Report]]:
    """What `argv`, the command line after `analyse`, asks for, to be called: it gives the reports.

    Ends the process, as argparse does, after --help and for options that are not valid.
    """
    chooser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="What trained networks do, beyond the tables; each has a --help of its own.",
        epilog=None if argv and argv[0] in ANALYSES else _list(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chooser.add_argument("analysis", choices=ANALYSES)
    name = chooser.parse_args(argv[:1]).analysis
    module = find_analysis(name)
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {name}", description=module.TEXT)
    add_shared(parser)
    module.add_arguments(parser)
    return partial(_analyse, module, parser.parse_args(argv[1:], argparse.Namespace(analysis=name)))


def _list() -> str:
    return "\n".join(f"  {name:<12} {find_analysis(name).TEXT}" for name in ANALYSES)


def _analyse(module: ModuleType, arguments: argparse.Namespace) -> list[Report]:
    return [module.analyse(arguments)]


def add_shared(parser: argparse.ArgumentParser) -> None:
    """The options of every analysis: which networks, which pairs, where to, how."""
    add = parser.add_argument
    add("--runs", nargs="+", metavar="RUN", help="names or run folders; else the latest inpainters")
    add("--all-runs", action="store_true", help="every finished run, not the latest")
    files = {"type": Path, "nargs": "+", "action": "extend", "default": []}
    add("--checkpoint", **files, help="weights files, or shipped: those that ship")
    add("--data", type=Path, help="data folder; else the one each run was trained on")
    add("--limit", type=at_least(1), help="at most this many pairs, of all bins")
    add("--output", type=Path, help="else runs/analysis/<analysis>/")
    add("--runs-folder", type=Path, default=Path("runs"), help="where runs lie")
    add("--batch", type=at_least(1), default=64, help="images at once (64)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")


def chosen_members(arguments: argparse.Namespace, task: str = INPAINTING) -> list[Trained]:
    """The runs and weights files that were asked for, names apart; else the latest run of each
    name.

    FileNotFoundError or ValueError when there is none, or for one that was trained for another
    task.
    """
    root, every = arguments.runs_folder, arguments.all_runs
    if arguments.runs is None and not arguments.checkpoint:
        folders = finished.finished_runs(root, every, task)
        if not folders:
            raise FileNotFoundError(
                f"no finished {task} run below {root}; --checkpoint names a weights file"
                + (f"; {finished.MAKE_ONE}" if task == INPAINTING else "")
            )
    else:
        folders = finished.resolve_runs(arguments.runs or [], root, every)
    files = [folder / WEIGHTS for folder in folders]
    files += [file for named in arguments.checkpoint for file in shipped_for(named, task)]
    members = [finished.read_trained(file) for file in files]
    return finished.name_apart(finished.check_task(members, task))


def shared_group(
    arguments: argparse.Namespace,
    members: Sequence[Trained],
    one_an_image: bool = False,
    size: int | None = None,
    per_bin: int | None = None,
) -> Group:
    """The frozen test pairs of `members`, at most `--limit`, evenly from all bins.

    With `one_an_image`, each image is met under one mask only, so that samples are independent.
    `size` in px and `per_bin` replace the members' own.
    ValueError when they have different test pairs, naming who has which, or when there is none.
    """
    groups = runs_pairs.group_by_pairs(list(members), arguments.data, size, per_bin)
    if len(groups) > 1:
        found = "; ".join(
            f"{group.pairs.hash[:12]} at {group.pairs.size} px: "
            + ", ".join(member.name for member in group.members)
            for group in groups
        )
        raise ValueError(f"the runs have different test pairs, --runs chooses some ({found})")
    if not groups or not len(groups[0].pairs):
        raise ValueError("there are no pairs to analyse")
    pairs = groups[0].pairs
    if one_an_image:
        pairs = pairs.one_an_image()
    return Group(pairs.limited(arguments.limit), groups[0].members)


def describe_pairs(pairs: FrozenPairs) -> str:
    """What a reader needs to know about the pairs, one line."""
    images = len({pair.image_sha256 for pair in pairs.pairs})
    return (
        f"N = {len(pairs)} pairs of {images} images at {pairs.size} px ({pairs.description}); "
        f"SHA-256 of the pairs: {pairs.hash}."
    )


def describe_members(members: Sequence[Trained]) -> str:
    """Which run each name stands for, one line."""
    found = [
        f"{member.name} = {member.checkpoint.parent.parent.name}/{member.checkpoint.parent.name}"
        if member.checkpoint.name == WEIGHTS
        else f"{member.name} = {member.checkpoint.name}"
        for member in members
    ]
    return f"Networks: {', '.join(found)}."


def output_folder(arguments: argparse.Namespace) -> Path:
    """Where an analysis writes: --output, else analysis/<name> below the folder of runs."""
    return arguments.output or arguments.runs_folder / "analysis" / arguments.analysis


def save_analysis(
    folder: Path,
    title: str,
    lines: Sequence[str],
    tables: Sequence[Table],
    values: Mapping[str, pd.DataFrame],
    drawn: Mapping[str, Figure],
    headline: Iterable[int] = (0,),
) -> Report:
    """Write tables, values and figures into `folder`, each file whole or not at all.

    Args:
        folder: made if need be; gets `table.md`, `<name>.csv`, `figures/<name>.png` and
            `report.html`, which holds tables and figures.
        title: of the Markdown document.
        lines: what stands above the tables: N, hash, batch, network, seed.
        tables: in the document's order.
        values: every number behind tables and figures, by the stem of its CSV file.
        drawn: figures by the stem of their files.
        headline: places of the tables in the report's `headline`.
    """
    text = to_markdown(tables, title, lines)
    files = {"table.md": folder / "table.md"}
    write_text(files["table.md"], text)
    for name, frame in values.items():
        files[f"{name}.csv"] = folder / f"{name}.csv"
        write_text(files[f"{name}.csv"], frame.to_csv(index=False, float_format="%.7g"))
    pictures = {}
    for name, figure in drawn.items():
        target = folder / "figures" / f"{name}.png"
        files[f"{name}.png"] = figures.save(figure, target)
        pictures[name.replace("_", " ").capitalize()] = target
        figures.show(figure)
    files["report.html"] = save_html(
        folder / "report.html", title, lines, tables, figures=pictures, headline=1
    )
    return Report(text, to_markdown([tables[i] for i in headline], title, lines), files)
