"""How much of the machine one visitor gets, and from where."""

from dataclasses import dataclass

LOCAL = ("localhost", "127.0.0.1", "::1")  # this machine alone
MOST_FACES = 100  # of one picture, the largest: a crowd must not hold the page for long


@dataclass(frozen=True)
class Limits:
    """`bytes` of one upload; a zip may hold ten times that; `pixels` of one photo; `seconds`
    of one task; `files` of one task."""

    bytes: int = 200_000_000
    pixels: int = 50_000_000
    seconds: float = 600.0
    files: int = 500

    def __post_init__(self) -> None:
        for name in ("bytes", "pixels", "seconds", "files"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0, found {getattr(self, name)}")
