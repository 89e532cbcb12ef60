"""What a command that compares leaves behind."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """What a comparison left behind; `headline` is `markdown` as far as PSNR and SSIM."""

    markdown: str
    headline: str
    files: dict[str, Path]
