"""How far a restored image is from the true one: L1, MSE, PSNR, SSIM, one value an image.

Every function takes images as in `data.contract`, (N, 3, H, W) in [0, 1], and returns (N,). With a
`mask` (N, 1, H, W) only the hole counts; an image whose mask has no hole gives NaN there, because
nothing was asked of it. No function averages over images.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from deocclude.data.contract import check_image, compose

WINDOW, SIGMA = 11, 1.5
VIEWS = ("composed", "composed_hole", "raw", "raw_hole")


def l1(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error over pixels and channels, shape (N,)."""
    return _mean((prediction - target).abs(), mask)


def mse(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error over pixels and channels, shape (N,)."""
    return _mean((prediction - target).square(), mask)


def psnr(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """10 log10(1 / MSE) in dB for a data range of 1, shape (N,); inf for equal images."""
    return -10 * mse(prediction, target, mask).log10()


def ssim(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity (Wang et al. 2004), shape (N,); sides of at least 11 pixels.

    Whole image: the mean of the map without the outer five pixels, which is scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=1)`. Hole only: the mean of the whole map over the hole's pixels.
    """
    return _ssim_mean(ssim_map(prediction, target), mask)


def ssim_map(prediction: Tensor, target: Tensor) -> Tensor:
    """The SSIM of every pixel and channel, (N, 3, H, W): 11 x 11 Gaussian window, sigma 1.5.

    Borders are mirrored with the edge pixel repeated, as scikit-image does; torchmetrics mirrors
    without repeating it, so the images are padded here and its own border is cut off.
    """
    height, width = target.shape[-2:]
    margin = WINDOW // 2
    if min(height, width) < WINDOW:
        raise ValueError(f"SSIM needs sides of at least {WINDOW} pixels, found {height} x {width}")
    pair = (_mirror(_mirror(image, margin, 2), margin, 3) for image in (prediction, target))
    _, full = structural_similarity_index_measure(
        *pair,
        sigma=SIGMA,
        kernel_size=WINDOW,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    return full[..., margin:-margin, margin:-margin]


def _ssim_mean(full: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        return _mean(full, mask)
    margin = WINDOW // 2
    return full[..., margin:-margin, margin:-margin].mean(dim=(1, 2, 3))


def _mirror(image: Tensor, margin: int, dim: int) -> Tensor:
    before = image.narrow(dim, 0, margin).flip(dim)
    after = image.narrow(dim, image.shape[dim] - margin, margin).flip(dim)
    return torch.cat((before, image, after), dim)


def _mean(errors: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return errors.mean(dim=(1, 2, 3))
    total = (errors * mask).sum(dim=(1, 2, 3))
    return total / (mask.sum(dim=(1, 2, 3)) * errors.shape[1])


FUNCTIONS: dict[str, Callable[..., Tensor]] = {"l1": l1, "mse": mse, "psnr": psnr, "ssim": ssim}


class NotFiniteError(ValueError):
    """A prediction that holds NaN or infinities; the message names the images."""


class ImageMetrics:
    """Per-image values of each metric in four views, kept as floats; images are never kept.

    A column is `view/metric`: `composed` is the whole image with the prediction pasted into the
    hole (the headline), `raw` the prediction as it came out, `_hole` looks at the hole's pixels
    only. What networks see has no hole-only view: their features mix what is inside with what is
    outside.

    Args:
        names: metrics of `FUNCTIONS`.
        learned: by name, networks called as `network(prediction, target)` on images in [0, 1]
            that return (N,), such as LPIPS.
        views: which of `VIEWS` to compute.
    """

    def __init__(
        self,
        names: Iterable[str] = ("l1", "mse", "psnr", "ssim"),
        learned: Mapping[str, Callable[[Tensor, Tensor], Tensor]] | None = None,
        views: Iterable[str] = VIEWS,
    ):
        self.names, self.views = tuple(names), tuple(views)
        _known(self.names, FUNCTIONS, "metric")
        _known(self.views, VIEWS, "view")
        self.learned = dict(learned or {})
        self.reset()

    @property
    def columns(self) -> list[str]:
        """The names under which values are kept, in a fixed order."""
        named = []
        for view in self.views:
            named += [f"{view}/{name}" for name in self.names]
            if not view.endswith("_hole"):
                named += [f"{view}/{name}" for name in self.learned]
        return named

    def reset(self) -> None:
        """Forget every value."""
        self._ids: list = []
        self._values: dict[str, list[float]] = {column: [] for column in self.columns}

    @torch.inference_mode()
    def update(
        self,
        prediction: Tensor,
        target: Tensor,
        mask: Tensor,
        ids: Iterable,
        occluded: Tensor | None = None,
    ) -> None:
        """Add a batch. Images (N, 3, H, W) in [0, 1], mask (N, 1, H, W), one id an image.

        `occluded` is what the model saw; without it the target stands outside the hole, which is
        the same picture whenever only the hole was covered. ValueError for a prediction that is
        not finite (NotFiniteError), out of range, or of another shape than the target.
        """
        ids = list(ids)
        prediction, target = prediction.float(), target.float()
        self._check(prediction, target, mask, ids)
        pictures = {"raw": prediction}
        if any(view.startswith("composed") for view in self.views):
            known = target if occluded is None else occluded
            pictures["composed"] = compose(prediction, known, mask)
        for picture, image in pictures.items():
            for column, value in self._measure(picture, image, target, mask).items():
                self._values[column] += value.tolist()
        self._ids += ids

    def _measure(self, picture: str, image: Tensor, target: Tensor, mask: Tensor) -> dict:
        views = [view for view in self.views if view.split("_")[0] == picture]
        similarity = ssim_map(image, target) if views and "ssim" in self.names else None
        measured = {}
        for view in views:
            hole = mask if view.endswith("_hole") else None
            for name in self.names:
                measured[f"{view}/{name}"] = (
                    _ssim_mean(similarity, hole)
                    if name == "ssim"
                    else FUNCTIONS[name](image, target, hole)
                )
            if hole is None:
                for name, network in self.learned.items():
                    measured[f"{view}/{name}"] = network(image, target).reshape(-1)
        return measured

    @staticmethod
    def _check(prediction: Tensor, target: Tensor, mask: Tensor, ids: list) -> None:
        if prediction.shape != target.shape:
            raise ValueError(
                f"prediction {tuple(prediction.shape)} must have the target's shape "
                f"{tuple(target.shape)}"
            )
        if mask.shape != (target.shape[0], 1, *target.shape[2:]):
            raise ValueError(f"mask {tuple(mask.shape)} does not fit images {tuple(target.shape)}")
        if len(ids) != len(target):
            raise ValueError(f"{len(ids)} ids for {len(target)} images; one id an image is needed")
        finite = prediction.isfinite().flatten(1).all(1).tolist()
        if not all(finite):
            named = [str(name) for name, good in zip(ids, finite, strict=True) if not good]
            raise NotFiniteError(f"prediction is not finite for {', '.join(named)}")
        check_image(prediction, "prediction")

    def compute(self) -> dict[str, float]:
        """The mean of each column over its finite values; inf if all of them are infinite.

        PSNR is infinite where an image was restored exactly; such images are left out of its mean
        (one of them would make it infinite) and counted by `infinite()`. NaN without any value.
        """
        return {column: finite_mean(values)[0] for column, values in self._values.items()}

    def infinite(self) -> dict[str, int]:
        """How many values of each column are infinite, the columns that have some."""
        counts = {column: finite_mean(values)[1] for column, values in self._values.items()}
        return {column: count for column, count in counts.items() if count}

    def values(self) -> dict[str, list]:
        """One list a column, in the order of the updates, and the ids under `id`."""
        return {"id": list(self._ids)} | {name: list(kept) for name, kept in self._values.items()}


def finite_mean(values: Iterable[float]) -> tuple[float, int]:
    """The mean of the finite values and the number of infinite ones; NaN values are left out.

    The mean is inf when every value is infinite, NaN when there is none.
    """
    kept = torch.as_tensor(list(values), dtype=torch.float64)
    infinite = int(kept.isinf().sum())
    finite = kept[kept.isfinite()]
    if len(finite):
        return finite.mean().item(), infinite
    return (float("inf") if infinite else float("nan")), infinite


def _known(given: tuple[str, ...], valid: Iterable[str] | Mapping, what: str) -> None:
    for name in given:
        if name not in valid:
            raise ValueError(f"unknown {what} {name!r}; valid: {', '.join(valid)}")
