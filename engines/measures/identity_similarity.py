"""The identity network that says whether a restored face is still the same person."""

from pathlib import Path

import torch

from deocclude.data.files import sha256
from deocclude.engines.inference.networks import read_embedder
from deocclude.engines.measures.columns import Measure, learned
from deocclude.engines.runs.finished import (
    DEFAULT,
    MAKE_IDENTITY,
    OFF,
    identity_file,
    read_metadata,
)
from deocclude.engines.runs.tasks import IDENTITY, task_of
from deocclude.metrics.identity import CosineSimilarity


def identity_similarity(
    named: str, runs: Path, device: str | torch.device = "cpu"
) -> Measure | None:
    """The cosine of the embeddings of restored and true picture, or why there is none.

    `named`: `auto` (the newest finished run of EfficientNetB0 below `runs`), a run, its folder, a
    weights file of `train_identity.py`, or `off`, which gives None. FileNotFoundError or ValueError
    for one that is not there or no identity network.
    """
    if named == OFF:
        return None
    file = identity_file(named, runs)
    if file is None:
        reason = f"no finished run of {DEFAULT} below {runs} to embed faces; {MAKE_IDENTITY}"
        return learned("identity", None, reason=reason)
    config, _ = read_metadata(file)
    if task_of(config) != IDENTITY:
        raise ValueError(
            f"--identity {named}: {file} was trained for {task_of(config)}, an identity network is "
            f"needed; {MAKE_IDENTITY}"
        )
    embedder, digest = read_embedder(file, device), sha256(file)
    people, template = config["model"].get("classes"), config["data"].get("template", "auto")
    note = (
        f"Identity similarity: cosine of the embeddings of restored and true picture by "
        f"{config['name']} ({file.parent.name}, SHA-256 {digest[:12]}), trained to tell {people} "
        f"people apart at {embedder.size} px on faces aligned as {template}; faces aligned "
        "otherwise are new to it. The row of the occluded input is the score of restoring nothing."
    )
    similarity = CosineSimilarity(embedder.embed)
    return learned("identity", similarity, {"network": digest}, note)
