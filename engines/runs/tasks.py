"""The tasks: what a network can be trained for, each one record.

What imports PyTorch, or stands in a room above this one, is named as "module:attribute" and
imported when it is asked for: commands answer before.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deocclude import models
from deocclude.engines.runs.settings import (
    AnyRun,
    FaceData,
    IdentityConfig,
    Named,
    RunConfig,
    SegmentationConfig,
)
from deocclude.names import Registry, imported

if TYPE_CHECKING:
    from torch import nn

    from deocclude.data.sources.faces import AnySources

ABLATIONS = Path(__file__).resolve().parents[2] / "ablations"
INPAINTING, SEGMENTATION, IDENTITY = "inpainting", "segmentation", "identity"


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that is done otherwise from task to task.

    config: the class of its runs' configurations, which says what data and networks they have.
    main: what its main network is called beside others. default: the run that its script trains
    when none is named. runs: where the YAML files of its runs lie, and those of profiles/.
    options: those that its script has beside those of all scripts, of `engines.cli.train.OPTIONS`.
    sources: (data settings, data folder, split.json) -> what is read. builder: (configuration,
    runtime, number of training images, whether the run goes on) -> trainer. comparison: of trained
    networks, for `engines.evaluation.compare.compare`. picture: the file of its report to look at.
    exporter: (weights file) -> `engines.export.opening.Opened`. ships: the weights file that comes
    with the project.
    """

    name: str
    config: type[AnyRun]
    main: str
    default: str
    runs: Path
    options: tuple[str, ...] = ()
    sources: str
    builder: str
    comparison: str
    picture: str
    exporter: str | None = None
    ships: str | None = None

    @property
    def script(self) -> str:
        return f"train_{self.name}.py"

    @property
    def model(self) -> type[Named]:
        """The class of `model` in its configurations."""
        return self.config.model_fields["model"].annotation  # type: ignore[return-value]

    @property
    def data(self) -> type[FaceData]:
        """The class of `data` in its configurations."""
        return self.config.model_fields["data"].annotation  # type: ignore[return-value]

    @property
    def networks(self) -> Registry:
        """Those that `model.name` chooses from."""
        return self.model.TABLE

    @property
    def trains(self) -> str:
        """What it trains, in words."""
        return self.model.KIND

    def create(self, name: str, **options: Any) -> "nn.Module":
        """Its main network. ValueError for a name or options of which there is none."""
        return models.create_network(self.networks, self.trains, name, options)

    @property
    def makes_one(self) -> str:
        """The command that trains one, for an error."""
        return f"`python {self.script} {self.default}` makes one"

    @property
    def evaluates(self) -> str:
        """The command that compares such networks."""
        return f"python evaluate.py{'' if self.name == INPAINTING else f' {self.name}'}"


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name=INPAINTING,
            config=RunConfig,
            main="generator",
            default="Reconstruction",
            runs=ABLATIONS,
            options=("masks", "members", "teacher", "invert-mask"),
            sources="deocclude.data.sources.holes:open_sources",
            builder="deocclude.engines.training.inpainting:build_trainer",
            comparison="deocclude.engines.evaluation.inpainting:INPAINTERS",
            picture="examples.png",
            exporter="deocclude.engines.export.opening:exported_inpainter",
            ships="inpainter.safetensors",
        ),
        Task(
            name=SEGMENTATION,
            config=SegmentationConfig,
            main="segmenter",
            default="SOCLNET",
            runs=ABLATIONS / SEGMENTATION,
            options=("occluders", "pairs", "invert-mask"),
            sources="deocclude.data.sources.covered:open_segmentation_sources",
            builder="deocclude.engines.training.segmentation:build_segmentation_trainer",
            comparison="deocclude.engines.evaluation.segmentation:SEGMENTERS",
            picture="masks.png",
            exporter="deocclude.engines.export.opening:exported_segmenter",
            ships="segmenter.safetensors",
        ),
        Task(
            name=IDENTITY,
            config=IdentityConfig,
            main="identity network",
            default="EfficientNetB0",
            runs=ABLATIONS / IDENTITY,
            options=("occluders",),
            sources="deocclude.data.sources.people:open_identity_sources",
            builder="deocclude.engines.training.identity:build_identity_trainer",
            comparison="deocclude.engines.evaluation.identity:IDENTITIES",
            picture="kinds.png",
            exporter="deocclude.engines.export.opening:exported_identity_network",
        ),
    )
}


def task_of(config: dict[str, Any]) -> str:
    """What a configuration as plain values is for; inpainting if it says nothing."""
    return config.get("task", INPAINTING)


def open_any_sources(
    config: AnyRun, root: Path | None, split_file: Path | None = None
) -> "AnySources":
    """What a run reads; nothing is decoded yet. Errors say what is missing.

    `split_file` is a run's split.json: its split counts instead of a new one, so that images that
    came since never move a trained image into the test set.
    """
    return imported(TASKS[config.task].sources)(config.data, root, split_file)
