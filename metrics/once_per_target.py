"""What a network says of a true picture, computed once for all predictions of it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


class OncePerTarget:
    """`compute(target)`, kept for as long as that very tensor lives: raw and composed pictures are
    compared with the same one."""

    def __init__(self, compute: Callable[[Tensor], Any]):
        self.compute = compute
        self._kept = WeakIdKeyDictionary()

    def __call__(self, target: Tensor) -> Any:
        if target not in self._kept:
            self._kept[target] = self.compute(target)
        return self._kept[target]
