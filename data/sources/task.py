"""The data of a run, whatever its task."""

from pathlib import Path

from deocclude.data.sources.holes import (
    SegmentationSources,
    Sources,
    open_segmentation_sources,
    open_sources,
)
from deocclude.data.sources.paired_set import SetSources
from deocclude.data.sources.people import IdentitySources, open_identity_sources
from deocclude.engines.runs.config import AnyRun

AnySources = Sources | SegmentationSources | SetSources | IdentitySources
OPENERS = {
    "inpainting": open_sources,
    "segmentation": open_segmentation_sources,
    "identity": open_identity_sources,
}


def open_any_sources(
    config: AnyRun, root: Path | None, split_file: Path | None = None
) -> AnySources:
    """The sources of a run's task."""
    return OPENERS[config.task](config.data, root, split_file)
