"""`evaluate.py identity`: identity networks on frozen pictures, and their embeddings."""

import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from deocclude.data.faces.identities import label_names
from deocclude.data.faces.layout import SPLITS
from deocclude.data.files import replacing
from deocclude.data.images import to_tensor
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import batches
from deocclude.data.sources.people import IdentitySources
from deocclude.engines.evaluation.compare import Asked, Comparison, Findings, Options
from deocclude.engines.evaluation.identity_report import (
    accuracy_table,
    identity_caption,
    kind_figure,
    kind_table,
    summarise_identities,
    swap_table,
)
from deocclude.engines.evaluation.summaries import cost_table, kinds_of
from deocclude.engines.inference.networks import read_embedder
from deocclude.engines.measures.identity import evaluate_identities, network_row, pixel_rows
from deocclude.engines.measures.rows import Row
from deocclude.engines.report.report import Drawing
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.pairs import group_by_people
from deocclude.engines.runs.tasks import IDENTITY

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IdentityOptions(Options):
    """As Options; `title` stands above the tables. `export`: where every picture's embedding goes,
    by one network."""

    per_kind: int | None = None
    export: Path | None = None
    title: str | None = None


def _groups(options: IdentityOptions, device: torch.device) -> list[Asked]:
    members = choose(options, IDENTITY)
    if options.export is not None and len(members) > 1:
        names = ", ".join(member.name for member in members)
        raise ValueError(f"--export: is for one network, --runs names it; found {names}")
    found = []
    for group in group_by_people(members, options.data, options.per_kind, options.limit):
        sources = group.people
        assert sources is not None
        rows = [network_row(m.name, m.checkpoint, device, m.training) for m in group.members]
        rows += pixel_rows(sources.faces("train"), sources.people)
        more = {"identities": sources.people, "template": sources.data.template}
        if options.export is not None:
            checkpoint, batch = group.members[0].checkpoint, options.batch
            more["export"] = partial(
                export_embeddings, checkpoint, sources, options.export, device, batch
            )
        found.append(Asked(rows, group.pairs, title=options.title, more=more))
    return found


def find_named(
    rows: Sequence[Row],
    pairs: FrozenOccluded,
    folder: Path,
    *,
    identities: Sequence[str],
    template: str = "ffhq",
    reference: str | None = None,
    batch: int = 64,
    device: str | torch.device = "cpu",
    export: Callable[[], Path] | None = None,
) -> Findings:
    """Measure `rows`, each on a device of its own; none is a reference. The figure: accuracy by
    kind."""
    results = evaluate_identities(rows, pairs, identities, folder, template=template, batch=batch)
    summary, kinds = summarise_identities(results), kinds_of(results)
    swapped = [table] if (table := swap_table(results)) else []
    tables = [accuracy_table(summary), *swapped, kind_table(summary), cost_table(results)]
    models = [name for name, kind in kinds.items() if kind == "model"]
    bars = Drawing(partial(kind_figure, summary, models), "Accuracy by kind of occluder")
    files = {} if export is None else {"embeddings": export()}
    return Findings(
        results, summary, identity_caption(results), tables, {"kinds": bars}, kinds, files=files
    )


@torch.inference_mode()
def export_embeddings(
    checkpoint: Path,
    sources: IdentitySources,
    path: Path,
    device: str | torch.device = "cpu",
    batch: int = 64,
) -> Path:
    """Embeddings of every picture, as nothing covers it, as a compressed NumPy archive.

    Arrays: embeddings float32 (N, `embedding`), labels int64 (N,) into `identities` (classes,),
    names (N,) and split (N,), one of train, val and test.
    """
    embedder = read_embedder(checkpoint, device)
    names, split, found = [], [], []
    for part in SPLITS:
        faces = sources.faces(part)
        for indices in batches(faces, batch):
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
    return path


IDENTITIES = Comparison("Identity", IdentityOptions, _groups, find_named)
