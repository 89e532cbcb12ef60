"""A picture and its mask in, the restored picture out: the one forward path of the project.

Validation, `evaluate.py` and `deocclude.py` all go through `Deoccluder.restore_batch`; photos of
any size and aspect go through `Deoccluder.restore_photo`, which wraps it.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from data.contract import compose, hide, mask_warning
from data.transforms import to_tensor

MARGIN = 1 / 16  # known context kept around the hole, as a share of the photo's short side


class Deoccluder:
    """An inpainter with the size and the fill it was trained with, ready for batches and photos.

    Parameters
    ----------
    inpainter : called `inpainter(occluded, mask) -> prediction`; moved to `device`.
    size : side in pixels of the square at which the inpainter works on photos.
    segmenter : finds the mask when none is given; kept for automatic masks, not called yet.
    device : "cpu" (the default), "cuda", "cuda:1", "mps", or "auto": an accelerator if there is
        one.
    fill : grey level in [0, 1] that hides the hole, the one used in training.
    """

    def __init__(
        self,
        inpainter: nn.Module,
        size: int,
        segmenter: nn.Module | None = None,
        device: str | torch.device = "cpu",
        fill: float = 1.0,
    ):
        if size < 1:
            raise ValueError(f"size: must be at least 1 pixel, found {size}")
        if not 0 <= fill <= 1:
            raise ValueError(f"fill: must lie in [0, 1], found {fill}")
        self.device = resolve_device(device)
        self.inpainter = inpainter.to(self.device)
        self.segmenter = segmenter
        self.size = size
        self.fill = fill

    @torch.inference_mode()
    def restore_batch(self, occluded: Tensor, mask: Tensor) -> Tensor:
        """What the inpainter predicts, in evaluation mode and without gradients.

        Shape: occluded (N, 3, S, S), mask (N, 1, S, S) -> (N, 3, S, S), float32 on `device`. The
        prediction is a whole image; `data.contract.compose` keeps the known pixels. Every module's
        training or evaluation mode is the same after the call as before it.
        """
        training = [module for module in self.inpainter.modules() if module.training]
        self.inpainter.eval()
        try:
            prediction = self.inpainter(occluded.to(self.device), mask.to(self.device))
        finally:
            for module in training:  # one by one: a frozen BatchNorm must stay in evaluation mode
                module.training = True
        if prediction.shape != occluded.shape:
            raise ValueError(
                f"the inpainter answered with shape {tuple(prediction.shape)} "
                f"for an input of {tuple(occluded.shape)}; both must be equal"
            )
        return prediction.float()

    def restore_photo(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Redraw the hole of a photo of any size and aspect.

        Shape: image uint8 (H, W, 3), mask uint8 (H, W) of {0, 1}, 1 = hole -> uint8 (H, W, 3).
        Outside the mask the result equals `image` bit for bit.

        The inpainters are trained on centre-cropped, aligned faces, so scale and position matter
        more than seeing every pixel. The part shown to the inpainter is the centred square,
        moved along the photo's long side as little as keeps the hole and a little context inside
        it; true pixels at the trained scale. Only a hole longer than the short side asks for the
        whole photo, padded to a square by reflection (squashing it would change the face's
        proportions). What the hole covers never reaches the inpainter; see `shrink`. The
        answer is brought back to full resolution by bicubic interpolation of the composed picture,
        so that the redrawn part runs into the true pixels around it.

        Raises ValueError for a wrong shape or type, a mask without a hole or without known pixels,
        and for a prediction that is not finite.
        """
        _check_photo(image, mask)
        top, left, height, width = choose_window(mask)
        window = np.s_[top : top + height, left : left + width]
        scale = self.size / max(height, width)
        shape = (max(1, round(height * scale)), max(1, round(width * scale)))
        small, hole = shrink(image[window], mask[window], shape)
        before = tuple((self.size - side) // 2 for side in shape)
        padding = [(b, self.size - side - b) for b, side in zip(before, shape, strict=True)]
        known = to_tensor(np.pad(small, [*padding, (0, 0)], mode="symmetric"))[None]
        hole = to_tensor(np.pad(hole, padding, mode="symmetric"))[None]
        occluded = hide(known, hole, self.fill)
        prediction = self.restore_batch(occluded, hole).cpu()
        if not prediction.isfinite().all():
            raise ValueError("the inpainter's prediction holds values that are not finite")
        composed = compose(prediction.clamp(0, 1), known, hole)[0].numpy()
        composed = composed[:, before[0] : before[0] + shape[0], before[1] : before[1] + shape[1]]
        restored = image.copy()
        redrawn = mask[window].astype(bool)
        for channel, values in enumerate(composed):
            large = _resize(values, (height, width), Image.Resampling.BICUBIC)
            restored[window][redrawn, channel] = np.rint(large[redrawn].clip(0, 1) * 255)
        return restored


def load_deoccluder(checkpoint: str | Path, device: str | torch.device = "auto") -> Deoccluder:
    """A Deoccluder from a run's `best.safetensors`, at the size and fill it was trained with."""
    from engines.checkpoint import load_inpainter

    device = resolve_device(device)
    inpainter, metadata = load_inpainter(Path(checkpoint), device)
    data = metadata["config"]["data"]
    return Deoccluder(inpainter, size=data["size"], device=device, fill=data["fill"])


def newest_checkpoint(runs: str | Path) -> Path | None:
    """`best.safetensors` of the run under `runs/<name>/<NNN>/` that finished last, or None."""
    ends = [
        (end.stat().st_mtime, end.with_name("best.safetensors"))
        for end in Path(runs).glob("*/*/finished.json")
    ]
    return max((end for end in ends if end[1].is_file()), default=(0, None))[1]


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device by name; "auto" is an accelerator if there is one, else the CPU.

    Raises ValueError for a name that torch does not know and for a device that is not here.
    """
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device == "auto":
        return here or torch.device("cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device {device!r}: unknown; try auto, cpu, cuda, cuda:1, mps") from None
    known = ("cpu", here.type) if here else ("cpu",)
    if wanted.type not in known or (wanted.index or 0) >= _device_count(wanted.type):
        raise ValueError(f"device {device!r}: not on this machine, which has {', '.join(known)}")
    return wanted


def _device_count(kind: str) -> int:
    return 1 if kind == "cpu" else torch.accelerator.device_count()


def choose_window(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part of a photo that the inpainter is shown.

    The square of the short side's length that is nearest to the centre and holds the hole with a
    margin; the whole photo when there is none.
    """
    height, width = mask.shape
    side = min(height, width)
    margin = round(side * MARGIN)
    axis = int(width > height)  # the long side
    length = mask.shape[axis]
    marked = np.flatnonzero(mask.any(axis=1 - axis))
    low, high = max(0, marked[0] - margin), min(length, marked[-1] + 1 + margin)
    if high - low > side:
        return 0, 0, height, width
    start = int(min(max((length - side) // 2, high - side), low))
    return (0, start, side, side) if axis else (start, 0, side, side)


def shrink(
    image: np.ndarray, mask: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Photo and mask at the inpainter's resolution, without a trace of what the hole covers.

    Shape: uint8 (H, W, 3) and (H, W) -> uint8 (*shape, 3) and (*shape). A small pixel is hole as
    soon as it overlaps one hole pixel. The others are resized like the training images (bicubic,
    antialiased); where that filter would reach into the hole they are the mean of the known
    pixels alone, under a triangle filter, so that neither the occluder nor a fill colour bleeds
    into them. Colours inside the hole are meaningless: hide them.
    """
    hole = _cover(_cover(mask, shape[0], axis=0), shape[1], axis=1)
    known = (1 - mask).astype(np.float32)
    visible = image * (1 - mask)[..., None]
    small = _resize(visible, shape, Image.Resampling.BICUBIC)
    reached = np.abs(_resize(known, shape, Image.Resampling.BICUBIC) - 1) > 1e-4
    reached &= hole == 0
    weight = _resize(known, shape, Image.Resampling.BILINEAR)[reached]
    for channel in range(3):
        sums = _resize(visible[..., channel].astype(np.float32), shape, Image.Resampling.BILINEAR)
        small[reached, channel] = np.rint((sums[reached] / weight).clip(0, 255))
    return small, hole


def _cover(mask: np.ndarray, count: int, axis: int) -> np.ndarray:
    """The maximum of `mask` over the exact extent of each of `count` equal intervals."""
    length = mask.shape[axis]
    index = np.arange(count)
    starts, ends = index * length // count, -(-(index + 1) * length // count)
    padded = np.concatenate([mask, np.zeros_like(mask.take([0], axis))], axis)
    pairs = np.stack([starts, ends], 1).ravel()
    return np.maximum.reduceat(padded, pairs, axis=axis).take(2 * index, axis)


def _resize(array: np.ndarray, shape: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    """Antialiased resize from edge to edge, uint8 (H, W, 3) or float32 (H, W)."""
    resized = Image.fromarray(np.ascontiguousarray(array)).resize(shape[::-1], method)
    return np.array(resized)


def _check_photo(image: np.ndarray, mask: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image: must be uint8 (H, W, 3), found {image.dtype} {image.shape}")
    if mask.shape != image.shape[:2] or mask.dtype != np.uint8:
        raise ValueError(
            f"mask: must be uint8 {image.shape[:2]} like the photo, found {mask.dtype} {mask.shape}"
        )
    if mask.size == 0 or mask.max() > 1:
        raise ValueError("mask: must hold 0 (known) and 1 (hole) only, and at least one pixel")
    ratio = float(mask.mean())
    if ratio in (0, 1):
        raise ValueError(f"{mask_warning(ratio)} (hole ratio {ratio:.2f})")
