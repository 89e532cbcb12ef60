"""The inpainters that can be chosen, and the networks themselves, each loaded once."""

import threading
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from deocclude.engines.app.limits import MOST_FACES
from deocclude.engines.inference.networks import leave_cores
from deocclude.engines.photos.deoccluder import Deoccluder, load_deoccluder
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.face import FaceChoice
from deocclude.engines.runs.chosen import choose_weights
from deocclude.engines.runs.finished import finished_runs
from deocclude.engines.runs.places import RUNS, places
from deocclude.engines.runs.released import ShippedWeightsError, shipped_file
from deocclude.engines.runs.tasks import INPAINTING

SHIPPED = ("sharp", "faithful")
KEPT = 3  # inpainters in memory


def model_names(default: str | None = None, runs: Path = RUNS) -> dict[str, str]:
    """The inpainters to choose from: what visitors see -> what `choose_weights` takes. `default`
    comes first; then those that ship, the latest finished run of each name, fitted ensembles."""
    names = [] if default is None else [default]
    for name in SHIPPED:
        try:
            shipped_file(INPAINTING, name)
        except ShippedWeightsError:
            continue
        names.append(name)
    names += [f"{run.parent.name}/{run.name}" for run in finished_runs(runs, task=INPAINTING)]
    for place in places(runs):
        names += [str(file) for file in sorted((place / "ensembles").glob("*.yaml"))]
    shown: dict[str, str] = {}
    for name in names:
        shown.setdefault(_shown(name), name)
    return shown


def _shown(name: str) -> str:
    """A file without the folders of this machine."""
    path = Path(name)
    return "/".join(path.parts[-2:]) if path.is_absolute() or path.is_file() else name


class Models:
    """Gives the networks of a name of `model_names`; the last few stay loaded.

    Networks are shared between threads, a face detector is not: each lane has its own.
    """

    def __init__(
        self,
        default: str | None = None,
        segmenter: str | None = None,
        device: str = "auto",
        backend: str = "auto",
    ) -> None:
        self.default, self.segmenter = default, segmenter
        self.device, self.backend = device, backend
        self._kept = lru_cache(KEPT)(lambda name: self._load(name))
        self._detector = cache(lambda lane, template: _detector(template))
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """What visitors choose from, the default first."""
        return list(model_names(self.default))

    def get(self, name: str | None = None, lane: str | None = None) -> Deoccluder:
        """The networks, loaded at the first call; errors as of `choose_weights`, and ValueError for
        a name that is none of `names`. `lane`: who asks, one thread at a time; None gives a
        detector for live pictures that nobody else has."""
        known = model_names(self.default)
        name = name or next(iter(known))
        if name not in list(known):  # a stranger may send what has no hash
            raise ValueError(f"network {name!r}: not one of {', '.join(known)}")
        with self._lock:
            networks = self._kept(known[name])
            template = networks.inpainter.template
            detector = self._detector(lane, template) if lane else _detector(template, live=True)
        return replace(networks, detector=detector)

    def _load(self, name: str) -> Deoccluder:
        inpainter, _ = choose_weights(name, INPAINTING, RUNS)
        segmenter, _ = choose_weights(self.segmenter, "segmentation", RUNS)
        networks = load_deoccluder(inpainter, self.device, segmenter, backend=self.backend)
        leave_cores(networks.inpainter, networks.segmenter)
        return networks


def _detector(template: str, live: bool = False) -> FaceDetector:
    return FaceDetector(template=template, small_faces=not live, choice=FaceChoice(MOST_FACES))
