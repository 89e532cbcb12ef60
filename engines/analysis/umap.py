"""`evaluate.py analyse umap`: where occluded, restored and true faces lie in feature space."""

import argparse
import logging
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from deocclude.data.contract import compose
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.tensors import load_pairs
from deocclude.engines.analysis import umap_report
from deocclude.engines.analysis.frame import (
    describe_members,
    describe_pairs,
    output_folder,
    save_analysis,
    shared_group,
)
from deocclude.engines.analysis.layers import FeatureExtractor, open_extractor
from deocclude.engines.analysis.umap_report import OCCLUDED, TRUE, Cloud
from deocclude.engines.inference.networks import read_inpainter
from deocclude.engines.report.report import Report
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.tasks import INPAINTING
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

MOST = 15_000  # points: trustworthiness holds three tables of all distances, 5 GB


def analyse(arguments: argparse.Namespace) -> Report:
    """Features of occluded, restored and true faces of the frozen test pairs, an image once.

    Raises ValueError when umap-learn is missing, when there are too few images for that many
    neighbours or too many points, and for features that are not finite.
    """
    check_umap()
    members = choose(arguments, INPAINTING)
    group = shared_group(arguments, members, one_an_image=True)
    pairs, device = group.pairs, resolve_device(arguments.device)
    check_points(len(pairs), len(group.members), arguments.neighbours)
    extractor = open_extractor(
        arguments.network, arguments.runs_folder, arguments.layer, arguments.weights, device
    )
    features = embed_faces(group.members, pairs, extractor, arguments.batch, device)
    flat = np.concatenate(list(features.values()))
    placed = place(flat, arguments.metric, arguments.neighbours, arguments.seed)
    cloud = Cloud(
        list(features), flat, placed, arguments.metric, arguments.neighbours,
        np.array([pair.bin for pair in pairs.pairs]),
    )  # fmt: skip
    distances = umap_report.distances(cloud)
    scores = umap_report.scores(cloud)
    lines = [
        describe_pairs(pairs),
        describe_members(group.members),
        f"Features: {extractor.words}; {flat.shape[1]} numbers a picture, {arguments.metric} "
        f"distances. UMAP: {arguments.neighbours} neighbours, seed {arguments.seed}.",
        "Restored pictures are composed: the prediction inside the hole, the known pixels outside.",
        *umap_report.left_out(cloud),
    ]
    return save_analysis(
        output_folder(arguments),
        "Faces in feature space",
        lines,
        [umap_report.distance_table(distances), umap_report.score_table(scores, cloud)],
        {
            "points": umap_report.points(cloud, pairs),
            "distances": umap_report.every_distance(cloud, pairs),
            "scores": scores,
        },
        {"umap": umap_report.scatter(cloud), "distance": umap_report.curves(cloud)},
        headline=2,
    )


def check_umap() -> None:
    """ValueError that says what to install when umap-learn is missing."""
    try:
        import umap  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"umap-learn cannot be imported ({error}): `pip install umap-learn` brings it"
        ) from error


def check_points(images: int, networks: int, neighbours: int) -> None:
    """ValueError for too few or too many points, true and occluded faces included."""
    points = images * (networks + 2)
    if points <= 2 * neighbours or images < 2:
        raise ValueError(
            f"{images} images give {points} points; UMAP and trustworthiness with {neighbours} "
            f"neighbours need 2 images and {2 * neighbours + 1} points: a larger --limit or fewer "
            "--neighbours"
        )
    if points > MOST:
        raise ValueError(
            f"{images} images and {networks} networks give {points} points, more than {MOST}; "
            "their distances fill the memory: --limit or --runs chooses fewer"
        )


def embed_faces(
    members: Sequence[Trained],
    pairs: FrozenPairs,
    extractor: FeatureExtractor,
    batch: int,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """Features (N, D) of the true and the occluded faces and of each member's restored ones."""
    found: dict[str, list[np.ndarray]] = {}
    parts = [range(s, min(s + batch, len(pairs))) for s in range(0, len(pairs), batch)]

    def add(name: str, picture: torch.Tensor, mask: torch.Tensor) -> None:
        features = extractor.embed(picture, mask).cpu()
        if not features.isfinite().all():
            raise ValueError(f"features of {name} faces hold values that are not finite")
        found.setdefault(name, []).append(features.double().numpy())

    for indices in parts:
        target, mask, occluded = load_pairs(pairs, indices, 1.0)
        add(TRUE, target, torch.zeros_like(mask))
        add(OCCLUDED, occluded, mask)
    for member in members:
        inpainter = read_inpainter(member.checkpoint, device)
        for indices in Bar(parts, desc=member.name, unit="batch"):
            _, mask, occluded = load_pairs(pairs, indices, inpainter.fill)
            restored = compose(inpainter.restore(occluded, mask).cpu(), occluded, mask)
            add(member.name, restored, torch.zeros_like(mask))
    return {name: np.concatenate(each) for name, each in found.items()}


def place(features: np.ndarray, metric: str, neighbours: int, seed: int) -> np.ndarray:
    """(N, D) to (N, 2) by UMAP (McInnes, Healy and Melville 2018); equal seeds, equal places."""
    import umap

    logger.info("UMAP of %d points of %d numbers", *features.shape)
    reducer = umap.UMAP(n_neighbors=neighbours, metric=metric, random_state=seed, n_jobs=1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        placed = reducer.fit_transform(features)
    for each in told:  # such as a start from random places instead of spectral ones
        logger.info("UMAP: %s", each.message)
    return placed
