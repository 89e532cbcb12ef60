"""`evaluate.py identity`: options in, reports and embeddings out."""

import io
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from deocclude.data.faces.identities import label_names
from deocclude.data.faces.layout import SPLITS
from deocclude.data.files import replacing
from deocclude.data.images import to_tensor
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.sources.people import IdentitySources, open_identity_sources
from deocclude.data.sources.root import data_root
from deocclude.engines.evaluation.identity_report import TITLE, identity_report
from deocclude.engines.inference.networks import read_embedder
from deocclude.engines.measures.identity import network_row, pixel_rows
from deocclude.engines.report.report import Report
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import IDENTITY, Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.pairs import default_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IdentityOptions:
    """What to measure, on what, and how: the command's options, and `share_values`, `title` and
    `remarks` as in `engines.evaluation.inpainting.Options`."""

    runs: list[str] | None = None
    all_runs: bool = False
    checkpoint: list[Path] = field(default_factory=list)
    data: Path | None = None
    per_kind: int | None = None
    limit: int | None = None
    output: Path | None = None
    runs_folder: Path = Path("runs")
    batch: int = 64
    device: str = "auto"
    export: Path | None = None
    share_values: bool = False
    title: str | None = None
    remarks: tuple[str, ...] = ()


@dataclass
class _Group:
    """Networks that share their people and frozen pictures."""

    sources: IdentitySources
    pairs: FrozenOccluded
    members: list[Trained]


def compare_identities(options: IdentityOptions) -> list[Report]:
    """Identity networks and comparisons of pixels: a report for each group that shares its
    pictures, and the embeddings of all pictures in `export`.

    Raises ValueError or FileNotFoundError that says what is missing and which command makes it.
    """
    members = choose(options, IDENTITY)
    if options.export is not None and len(members) > 1:
        names = ", ".join(member.name for member in members)
        raise ValueError(f"--export: is for one network, --runs names it; found {names}")
    device = resolve_device(options.device)
    groups = _group(members, options)
    reports = []
    for group in groups:
        identities = group.sources.data.identities
        rows = [network_row(m.name, m.checkpoint, device, m.training) for m in group.members]
        default = default_folder(group.pairs, options.runs_folder)
        folder = options.output or default
        if options.output is not None and len(groups) > 1:
            folder = options.output / group.pairs.hash[:12]
        reports.append(
            identity_report(
                [*rows, *pixel_rows(group.sources.faces("train"), identities)],
                group.pairs,
                identities,
                folder,
                template=group.sources.data.template,
                batch=options.batch,
                values_folder=default if options.share_values else None,
                title=options.title or TITLE,
                remarks=options.remarks,
            )
        )
    if options.export is not None:
        checkpoint = members[0].checkpoint
        export_embeddings(checkpoint, groups[0].sources, options.export, device, options.batch)
        reports[0].files["embeddings"] = options.export
    return reports


def _group(members: list[Trained], options: IdentityOptions) -> list[_Group]:
    """The frozen test pictures of each run's people, by the split it wrote down."""
    groups: dict[str, _Group] = {}
    for member in members:
        data, root = member.data, None
        if options.per_kind is not None:
            data = data.model_copy(update={"test_per_kind": options.per_kind})
        if options.data is not None and data.faces != "builtin":
            root = data_root(options.data)
            named = {name: member.config["data"][name] for name in ("faces", "occluders")}
            data = data.model_copy(update=named)
        elif data.faces == "auto" or data.occluders == "auto":  # a weights file without its run
            root = data_root(None)
        split = member.split
        sources = open_identity_sources(data, root, split)
        pairs = sources.frozen("test").limited(options.limit)
        key = json.dumps([pairs.hash, sources.data.identities])
        groups.setdefault(key, _Group(sources, pairs, [])).members.append(member)
    return list(groups.values())


@torch.inference_mode()
def export_embeddings(
    checkpoint: Path,
    sources: IdentitySources,
    path: Path,
    device: str | torch.device = "cpu",
    batch: int = 64,
) -> None:
    """Embeddings of every picture, as nothing covers it, as a compressed NumPy archive.

    Arrays: embeddings float32 (N, `embedding`), labels int64 (N,) into `identities` (classes,),
    names (N,) and split (N,), one of train, val and test.
    """
    embedder = read_embedder(checkpoint, device)
    names, split, found = [], [], []
    for part in SPLITS:
        faces = sources.faces(part)
        for first in range(0, len(faces), batch):
            indices = range(first, min(first + batch, len(faces)))
            image = torch.stack([to_tensor(faces[i]) for i in indices])
            found.append(embedder.embed(image).cpu().numpy())
        names += faces.names
        split += [part] * len(faces)
    identities = sources.data.identities
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        embeddings=np.concatenate(found),
        labels=label_names(names, identities),
        names=np.array(names),
        split=np.array(split),
        identities=np.array(identities),
    )
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    logger.info("%d embeddings of %d people in %s", len(names), len(identities), path)
