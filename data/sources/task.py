"""The data of a run, whatever its task."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from deocclude.data.sources.covered import SegmentationSources, open_segmentation_sources
from deocclude.data.sources.holes import Sources, open_sources
from deocclude.data.sources.paired_set import SetSources
from deocclude.data.sources.people import IdentitySources, open_identity_sources

AnySources = Sources | SegmentationSources | SetSources | IdentitySources
OPENERS: dict[str, Callable[[Any, Path | None, Path | None], AnySources]] = {
    "inpainting": open_sources,
    "segmentation": open_segmentation_sources,
    "identity": open_identity_sources,
}


class Run(Protocol):
    """What is looked at of a run's configuration."""

    task: str
    data: Any


def open_any_sources(config: Run, root: Path | None, split_file: Path | None = None) -> AnySources:
    """The sources of a run's task."""
    return OPENERS[config.task](config.data, root, split_file)
