"""The metrics of restored pictures: what each is called, how it is written, which way is better.

One table, from which every table, figure and page takes them, in its order. The functions of those
measured on pixels are in `metrics.image`.
"""

from dataclasses import dataclass

PIXEL, NETWORK, SET = "pixel", "network", "set"


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        heading: its name above tables, with the unit.
        decimals: of its values.
        higher: whether higher is better.
        by: PIXEL (of each image, from its pixels), NETWORK (of each image, by a network) or SET
            (one number of all images).
        short: its name where there is less room, if it has another.
        shown: whether it stands in tables, or only in the files of values.
    """

    heading: str
    decimals: int
    higher: bool
    by: str = PIXEL
    short: str = ""
    shown: bool = True


METRICS = {
    "psnr": Metric("PSNR (dB)", 2, True),
    "ssim": Metric("SSIM", 4, True),
    "l1": Metric("L1 (mean absolute error)", 4, False, short="L1"),
    "mse": Metric("MSE", 5, False, shown=False),
    "lpips": Metric("LPIPS (AlexNet)", 4, False, NETWORK),
    "lpips_vgg": Metric("LPIPS (VGG-16)", 4, False, NETWORK),
    "identity": Metric("Identity similarity", 4, True, NETWORK),
    "identity_dlib": Metric("Identity similarity (dlib)", 4, True, NETWORK),
    "fid": Metric("FID", 2, False, SET),
}
HIGHER_IS_BETTER = {name: metric.higher for name, metric in METRICS.items()}
HEADINGS = {name: metric.heading for name, metric in METRICS.items()}
SHORT = {name: metric.short or metric.heading for name, metric in METRICS.items()}
DECIMALS = {name: metric.decimals for name, metric in METRICS.items()}


def shown(*by: str) -> tuple[str, ...]:
    """The names of the metrics that stand in tables, of these kinds."""
    return tuple(name for name, metric in METRICS.items() if metric.shown and metric.by in by)


OF_PIXELS, OF_NETWORKS = shown(PIXEL), shown(NETWORK)
BY_IMAGE = OF_PIXELS + OF_NETWORKS
