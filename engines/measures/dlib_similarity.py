"""Identity similarity by dlib's face network, trained on photographs of some thousand people.

What is shown is 1 - d, d the Euclidean distance of the 128 numbers dlib describes a face by: 1 for
equal descriptors, higher is better. dlib takes d < 0.6 for one person. It has no gradients: a
measure, no loss.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deocclude.data.faces.alignment import LANDMARKS, TEMPLATES, similarity
from deocclude.data.files import sha256
from deocclude.data.images import to_uint8
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.measures.columns import Measure, learned

NAME = "identity_dlib"
WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
INSTALL = "`pip install dlib-bin face-recognition-models` brings both"
SIDE = 150  # pixels of the face that the network takes
SAME = 0.6  # a smaller distance is one person's, says dlib
BOX = (43 / 256, 73 / 256, 170 / 256)  # left, top, side of dlib's own crop in an ffhq face


def face_box(template: str, size: int) -> tuple[int, int, int]:
    """Left, top and side in pixels of the square that dlib would cut out of a picture `size` wide
    whose face lies as `template`, a key of TEMPLATES, says; it may stick out."""
    ffhq, own = (np.array([TEMPLATES[t][name] for name in LANDMARKS]) for t in ("ffhq", template))
    matrix, (left, top, side) = similarity(ffhq, own), BOX
    left, top = matrix @ (left, top, 1)
    side *= np.hypot(*matrix[:, 0])
    return round(left * size), round(top * size), round(side * size)


class DlibSimilarity:
    """Pictures (N, 3, H, W) in [0, 1] and the true ones to 1 - distance, (N,).

    `network` is dlib's; each different true picture is described once, 0.1 to 0.2 s on a core.
    """

    def __init__(self, network: Any, template: str):
        self.network, self.template = network, template
        self._true: dict[bytes, Tensor] = {}

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        own = torch.stack([self._describe(face) for face in self._faces(prediction)])
        true = torch.stack([self._known(face) for face in self._faces(target)])
        return (1 - (own - true).norm(dim=1)).float()

    def _faces(self, images: Tensor) -> np.ndarray:
        """uint8 (N, SIDE, SIDE, 3); beyond the picture's border its pixels are repeated."""
        size = images.shape[-1]
        left, top, side = face_box(self.template, size)
        margin = max(0, -left, -top, left + side - size, top + side - size)
        wide = functional.pad(images.cpu(), (margin,) * 4, mode="replicate")
        left, top = left + margin, top + margin
        faces = wide[..., top : top + side, left : left + side]
        faces = functional.interpolate(faces, (SIDE, SIDE), mode="bicubic", antialias=True)
        return to_uint8(faces.clamp(0, 1))

    def _known(self, face: np.ndarray) -> Tensor:
        digest = hashlib.sha256(face.tobytes()).digest()
        if digest not in self._true:
            self._true[digest] = self._describe(face)
        return self._true[digest]

    def _describe(self, face: np.ndarray) -> Tensor:
        found = self.network.compute_face_descriptor(np.ascontiguousarray(face))
        return torch.tensor(np.array(found))


def dlib_similarity() -> Measure:
    """The measure, its crop settled by how the pairs' faces lie; without dlib or its weights why
    there is none."""
    place = find_spec("face_recognition_models")  # its own import needs an old setuptools
    try:
        import dlib
    except ImportError as error:
        return learned(NAME, None, reason=f"dlib cannot be imported ({error}); {INSTALL}")
    if place is None:
        return learned(NAME, None, reason=f"face-recognition-models is not installed; {INSTALL}")
    file = Path(place.submodule_search_locations[0]) / "models" / WEIGHTS
    if not file.is_file():
        return learned(NAME, None, reason=f"{file}: no such file; {INSTALL}")
    network, digest = dlib.face_recognition_model_v1(str(file)), sha256(file)

    def settle(pairs: FrozenPairs) -> Measure:
        note = (
            f"Identity similarity (dlib): 1 - distance of the descriptors of composed and true "
            f"picture by dlib's face network ({WEIGHTS}, SHA-256 {digest[:12]}); above "
            f"{1 - SAME:.1f} dlib takes both for one person. Faces are cropped as lying as "
            f"{pairs.template}'s do."
        )
        key = {"weights": digest, "template": pairs.template, "shown": "1 - distance"}
        network_of = DlibSimilarity(network, pairs.template)
        return learned(NAME, network_of, key, note, views=("composed",))

    return Measure(NAME, settle=settle)
