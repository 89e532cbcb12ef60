"""Probabilistic PCA of the training faces: what an aligned average and its main variations make of
a hole, with no network. The linear row of every table.

Tipping and Bishop, Probabilistic principal component analysis (J. R. Stat. Soc. B 61, 1999).
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.files import Faces, hash_array
from deocclude.data.files import replacing
from deocclude.data.images import to_tensor, to_uint8
from deocclude.data.seeding import keyed_rng
from deocclude.models.pull_push import pull_push

logger = logging.getLogger(__name__)

VERSION = 1  # raised whenever a fit or an answer would come out differently
SIDE = 64  # pixels: the size at which faces are modelled; smaller ones at their own
COMPONENTS = 400  # at most, and a quarter as many as faces
FACES, FEWEST = 4000, 2  # that a model is fitted to: of more a seeded choice; mirror images on top
SEED = 42
ENOUGH = 0.25  # of a pixel of the model known: less counts as hidden
# What components leave of a face is no white noise but smooth: so many neighbours tell as much as
# one. Chosen with COMPONENTS on validation faces, of 1 to 1024.
ALIKE = 32.0
ROUNDING = 1 / 255**2 / 12  # the variance of rounding to 8 bits: no noise is below it
SPARE, PASSES = 20, 2  # of the randomised decomposition: further components, power iterations


@dataclass(frozen=True, eq=False)
class PPCA:
    """Pixels x = W z + mean + noise, z standard normal, noise of one variance (section 3.1).

    Shape: mean (P, C), loadings (P, C, q) = W, of P pixels.
    """

    mean: Tensor
    loadings: Tensor
    noise: float

    @cached_property
    def _gram(self) -> Tensor:
        return _squares(self.loadings)

    def posterior_mean(self, pixels: Tensor, known: Tensor) -> Tensor:
        """The expected W z + mean, given the known ones of the pixels.

        E[z] = (W_k' W_k + noise I)^-1 W_k' (x_k - mean_k), the rows k being the known pixels': q
        equations in place of one a pixel.

        Shape: pixels (P, C), known (P,) bool -> (P, C); what lies at unknown pixels is not read.
        """
        own = self.loadings[known]
        if 2 * int(known.sum()) > len(known):  # the smaller part is the quicker one
            system = self._gram - _squares(self.loadings[~known])
        else:
            system = _squares(own)
        system = system + self.noise * torch.eye(len(system), dtype=system.dtype)
        told = own.flatten(0, 1).T @ (pixels[known] - self.mean[known]).flatten()
        z = torch.cholesky_solve(told[:, None], torch.linalg.cholesky(system))[:, 0]
        return self.mean + self.loadings @ z

    def restore(self, pictures: Tensor, mask: Tensor) -> Tensor:
        """Pictures whose holes are filled by the posterior mean, enlarged, plus a smooth
        continuation of how far it is off at the known pixels; known pixels stay.

        Linear in the known pixels, up to the clamp. Shape: (N, 3, H, W) and (N, 1, H, W), squares
        -> (N, 3, H, W) in [0, 1]. Where nothing is known it is the mean face.
        """
        side, size = round(len(self.mean) ** 0.5), pictures.shape[-2:]
        share = _averaged(1 - mask, side)
        seen = _averaged(pictures * (1 - mask), side) / share.clamp(min=1e-6)
        drawn = torch.stack(
            [
                self.posterior_mean(each.flatten(1).T, known.flatten()).T.unflatten(1, (side, side))
                for each, known in zip(seen, share >= ENOUGH, strict=True)
            ]
        )
        drawn = F.interpolate(drawn, size, mode="bilinear", align_corners=False)
        filled = (drawn + pull_push(pictures - drawn, mask)).clamp(0, 1)
        return torch.where(mask > 0.5, filled, pictures)


def _squares(loadings: Tensor) -> Tensor:
    """W' W of some pixels, (q, q)."""
    rows = loadings.flatten(0, 1)
    return rows.T @ rows


def _averaged(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, (side, side), mode="area")


def fit(faces: np.ndarray, components: int = COMPONENTS) -> PPCA:
    """The maximum-likelihood model (section 3.2) of faces and their mirror images.

    Args:
        faces: uint8 (N, S, S, 3), at least 2.
        components: q; no more are fitted than a quarter of the faces.

    The decomposition is randomised (Halko et al. 2011), with a seed of its own.
    """
    if faces.ndim != 4 or faces.shape[1:] != (faces.shape[1], faces.shape[1], 3):
        raise ValueError(f"faces: must be squares (N, S, S, 3), found {faces.shape}")
    if len(faces) < FEWEST:
        raise ValueError(f"faces: at least {FEWEST} are needed, found {len(faces)}")
    if components < 1:
        raise ValueError(f"components must be at least 1, found {components}")
    kept = min(components, max(1, len(faces) // 4))
    both = torch.from_numpy(np.concatenate([faces, faces[:, :, ::-1]]))
    x = both.flatten(1).float().div_(255)
    x -= (mean := x.mean(0))
    count, pixels = x.shape
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        spare = min(kept + SPARE, count, pixels)
        _, singular, axes = torch.svd_lowrank(x, spare, niter=PASSES)
    variances = singular[:kept].square() / count
    left = torch.linalg.vector_norm(x).square() / count - variances.sum()
    noise = max(ROUNDING, left.item() / (pixels - kept))
    loadings = axes[:, :kept] * (variances - noise).clamp(min=0).sqrt()
    return PPCA(mean.view(-1, 3), loadings.reshape(-1, 3, kept).contiguous(), noise)


class FittedFaces:
    """The model of training faces, fitted when it is first asked and kept below `folder`.

    Args:
        faces: what is trained on, at the size of what is to be restored.
        folder: where `ppca-*.safetensors` are kept.
    """

    def __init__(self, faces: Faces, folder: Path) -> None:
        if len(faces) < FEWEST:
            raise ValueError(f"at least {FEWEST} training faces are needed, found {len(faces)}")
        order = keyed_rng(SEED, "ppca").permutation(len(faces))[:FACES]
        self.faces = faces.subset(sorted(order.tolist()))
        self.folder = folder

    @cached_property
    def identity(self) -> str:
        """What decides every answer: the method and the faces, files by name and length."""
        files = self.faces.files
        first = [file.stat().st_size for file in files] if files else [hash_array(self.faces[0])]
        told = [VERSION, SIDE, COMPONENTS, ALIKE, self.faces.size, list(self.faces.names), first]
        return f"ppca {hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24]}"

    @property
    def path(self) -> Path:
        return self.folder / f"{self.identity.replace(' ', '-')}.safetensors"

    @property
    def words(self) -> str:
        """A line for tables."""
        side = min(SIDE, self.faces.size)
        return (
            f"Probabilistic PCA (Tipping and Bishop 1999): of {len(self.faces)} training faces and "
            f"their mirror images at {side} px, at most {COMPONENTS} components; the hole is the "
            "posterior mean given the known pixels, and a smooth continuation of how far that is "
            "off at these."
        )

    @cached_property
    def model(self) -> PPCA:
        """Read or fitted now. ValueError when the file is damaged, or too few faces can be read."""
        if not self.path.is_file():
            self._fit()
        try:
            found = load_file(self.path)
        except SafetensorError as error:
            raise ValueError(f"{self.path}: is damaged ({error}); delete it") from error
        # Smooth leftovers: the evidence of the pixels counts less than white noise would have it.
        return PPCA(found["mean"], found["loadings"], ALIKE * found["noise"].item())

    def _fit(self) -> None:
        start = time.perf_counter()
        side = min(SIDE, self.faces.size)
        small = replace(self.faces, size=side, read=partial(_shrunk, self.faces.read, side))
        self.folder.mkdir(parents=True, exist_ok=True)
        read = cache_faces(small, "ram", 1.0, self.folder)
        model = fit(np.stack([read[index] for index in range(len(read))]))
        tensors = {"mean": model.mean, "loadings": model.loadings}
        with replacing(self.path) as temporary:
            save_file(tensors | {"noise": torch.tensor(model.noise)}, temporary)
        seconds = time.perf_counter() - start
        logger.info("ppca: fitted to %d faces in %.0f s, %s", len(read), seconds, self.path)

    def restore(self, images: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, list[float]]:
        """As `BaselinePool.restore`."""
        model, answers, seconds = self.model, [], []
        for picture, mask in zip(to_tensor(images), to_tensor(masks), strict=True):
            start = time.perf_counter()
            answers.append(model.restore(picture[None], mask[None])[0])
            seconds.append(time.perf_counter() - start)
        return torch.stack(answers).movedim(1, -1).numpy(), seconds


def _shrunk(read: Callable[[int], np.ndarray], side: int, index: int) -> np.ndarray:
    picture = to_tensor(read(index)[None])
    return to_uint8(_averaged(picture, side))[0]
