"""Faces in feature space as numbers, tables and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.report.charts import (
    COLOURS,
    MARKERS,
    legend_beside,
    name_bins,
    panels,
    reach,
    shifts,
    tidy,
)
from deocclude.engines.report.grids import DPI, INK
from deocclude.engines.report.tables import BIN_LABELS, PERCENT, Cell, Table, column, table_of
from deocclude.metrics.statistics import Interval, bootstrap_interval, wilson_interval

TRUE, OCCLUDED = "True face", "Occluded"
PANELS = 12  # groups drawn
TIES = 60  # lines from a picture to its true face, at most, in a panel
GREY = "#B9B9B9"


@dataclass(frozen=True)
class Cloud:
    """Features of G groups of pictures of the same N faces, TRUE among them, group after group.

    Attributes:
        groups: their names.
        features: (G N, D).
        placed: (G N, 2), by UMAP.
        metric: distance of features, cosine or euclidean.
        neighbours: how many count in trustworthiness.
        bins: (N,), the hole's bin of each face.
    """

    groups: list[str]
    features: np.ndarray
    placed: np.ndarray
    metric: str
    neighbours: int
    bins: np.ndarray

    @cached_property
    def own(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """`own_distance` of every group but the true faces."""
        return {group: own_distance(self, group) for group in self.others}

    def part(self, group: str, placed: bool = False) -> np.ndarray:
        """One group's features, or places, (N, ...)."""
        start, count = self.groups.index(group), len(self.bins)
        return (self.placed if placed else self.features)[start * count : (start + 1) * count]

    @property
    def others(self) -> list[str]:
        return [group for group in self.groups if group != TRUE]


def own_distance(cloud: Cloud, group: str) -> tuple[np.ndarray, np.ndarray]:
    """(N,) distances of the group's pictures to their own true faces, and (N,) whether no other
    true face is nearer."""
    from scipy.spatial.distance import cdist

    table = cdist(cloud.part(group), cloud.part(TRUE), cloud.metric)
    own = np.diag(table).copy()  # a view would keep the table
    return own, own <= table.min(1)


def distances(cloud: Cloud) -> pd.DataFrame:
    """A line a group: mean distance to the own true face and to the occluded picture's, and how
    often the own true face is the nearest, with 95 % intervals over faces."""
    base = cloud.own[OCCLUDED][0]
    lines = []
    for group in cloud.others:
        own, first = cloud.own[group]
        mean, less = bootstrap_interval(own), bootstrap_interval(own - base)
        named = wilson_interval(float(first.mean()), len(first))
        line = {"group": group, "distance": mean.mean, "low": mean.low, "high": mean.high}
        line |= {"difference": less.mean, "difference_low": less.low, "difference_high": less.high}
        line |= {"nearest": named.mean, "nearest_low": named.low, "nearest_high": named.high}
        lines.append(line)
    return pd.DataFrame(lines)


def scores(cloud: Cloud) -> pd.DataFrame:
    """A line a group: silhouette of the group against the true faces (Rousseeuw 1987), in features
    and in UMAP's plane; and a line for all: trustworthiness (Venna and Kaski 2001) of the plane."""
    from sklearn.manifold import trustworthiness
    from sklearn.metrics import silhouette_score

    trust = trustworthiness(
        cloud.features, cloud.placed, n_neighbors=cloud.neighbours, metric=cloud.metric
    )
    lines = []
    for group in cloud.others:
        labels = np.repeat([0, 1], len(cloud.bins))
        found = [
            silhouette_score(
                np.concatenate([cloud.part(TRUE, placed), cloud.part(group, placed)]),
                labels,
                metric="euclidean" if placed else cloud.metric,
            )
            for placed in (False, True)
        ]
        lines.append({"group": group, "features": found[0], "umap": found[1]})
    return pd.DataFrame(lines).assign(trustworthiness=trust)


def distance_table(frame: pd.DataFrame) -> Table:
    """Distances to the true faces, and how often the own one is the nearest."""
    names = list(frame["group"])
    frame = frame.rename(columns={"low": "distance_low", "high": "distance_high"})
    others = frame[frame["group"].ne(OCCLUDED)]  # it has no difference to itself

    def cells(lines: pd.DataFrame, of: str, form: str, **how) -> list[Cell]:
        return column(lines, names, form, by="group", of=of, interval="low" in form, **how)

    columns = [
        ("distance", cells(frame, "distance", ".4f", higher=False)),
        ("95 %", cells(frame, "distance", "{low:.4f} to {high:.4f}")),
        (f"Δ to {OCCLUDED}", cells(others, "difference", "+.4f")),
        ("95 %", cells(others, "difference", "{low:+.4f} to {high:+.4f}")),
        ("own face nearest", cells(frame, "nearest", PERCENT, higher=True, times=100)),
        ("95 %", cells(frame, "nearest", "{low:.1f} to {high:.1f} %", times=100)),
    ]
    note = (
        "Distance of a picture's features to those of its own true face, mean over faces; own face "
        "nearest: how often no other true face is nearer. Intervals over faces."
    )
    return table_of("Distance to the true face", names, columns, [note])


def score_table(frame: pd.DataFrame, cloud: Cloud) -> Table:
    """Silhouettes, and the trustworthiness of the plane."""
    note = (
        f"Trustworthiness of the plane with {cloud.neighbours} neighbours: "
        f"{frame['trustworthiness'].iloc[0]:.3f} (1: every neighbour in the plane is one among the "
        "features). Silhouette of two groups, the true faces and this one: 0 where they cannot be "
        "told apart, 1 where they lie far from each other."
    )
    names = list(frame["group"])
    columns = [
        (f"silhouette, {word}", column(frame, names, ".3f", by="group", of=of))
        for of, word in (("features", "features"), ("umap", "UMAP"))
    ]
    return table_of("Told apart from the true faces", names, columns, [note])


def points(cloud: Cloud, pairs: FrozenPairs) -> pd.DataFrame:
    """Every point of the plane. Columns: group, image, bin, x, y."""
    parts = []
    for group in cloud.groups:
        x, y = cloud.part(group, placed=True).T
        names = [pair.image for pair in pairs.pairs]
        parts.append(pd.DataFrame({"image": names, "bin": cloud.bins, "x": x, "y": y}))
        parts[-1].insert(0, "group", group)
    return pd.concat(parts, ignore_index=True)


def every_distance(cloud: Cloud, pairs: FrozenPairs) -> pd.DataFrame:
    """Columns: group, image, bin, hole_ratio, distance (to the own true face), nearest (0 or 1)."""
    parts = []
    for group in cloud.others:
        own, first = cloud.own[group]
        lines = [(group, pair.image, pair.bin, pair.hole_ratio) for pair in pairs.pairs]
        frame = pd.DataFrame(lines, columns=["group", "image", "bin", "hole_ratio"])
        parts.append(frame.assign(distance=own, nearest=first.astype(int)))
    return pd.concat(parts, ignore_index=True)


def left_out(cloud: Cloud) -> list[str]:
    """A remark on the groups that the figures do not show."""
    more = cloud.others[PANELS:]
    return [f"Not drawn, only in the tables: {', '.join(more)}."] if more else []


def colours(groups: Sequence[str]) -> dict[str, str]:
    """Occluded black, the others from the palette."""
    restored = [group for group in groups if group != OCCLUDED]
    palette = COLOURS[:-1]
    found = {group: palette[i % len(palette)] for i, group in enumerate(restored)}
    return {OCCLUDED: COLOURS[-1], **found}


def scatter(cloud: Cloud) -> Figure:
    """A panel a group: its points, the true faces grey, and lines that join some with their own."""
    shown = cloud.others[:PANELS]
    look = colours(shown)
    figure, axes = panels(len(shown), 4, (2.7, 2.75), (0.2, 0.3), sharex=True, sharey=True)
    true = cloud.part(TRUE, placed=True)
    step = max(1, len(true) // TIES)
    for axis, group in zip(axes, shown, strict=True):
        here = cloud.part(group, placed=True)
        for start, end in zip(true[::step], here[::step], strict=True):
            axis.plot(*zip(start, end, strict=True), color=look[group], linewidth=0.5, alpha=0.35)
        axis.scatter(*true.T, s=5, color=GREY, linewidths=0)
        axis.scatter(*here.T, s=5, color=look[group], linewidths=0, alpha=0.8)
        axis.set_title(group, fontsize=9, color=look[group], loc="left")
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_color("#CCCCCC")
    count = len(true[::step])
    text = f"grey: true faces, N = {len(true)}; lines join {count} pictures with their true faces"
    figure.text(0.01, 0.012, text, fontsize=8, color=INK, ha="left", va="bottom")
    figure.tight_layout(rect=(0, 0.18 / figure.get_figheight(), 1, 1))
    return figure


def curves(cloud: Cloud) -> Figure:
    """Distance to the own true face against hole area, a line a group, 95 % intervals of means."""
    shown = cloud.others[:PANELS]
    look = colours(shown)
    bins = [name for name in BIN_LABELS if name.isdigit() and int(name) in cloud.bins]
    figure = Figure(figsize=(6.4, 3.2), dpi=DPI)
    axis = figure.subplots()
    for i, (group, shift) in enumerate(zip(shown, shifts(len(shown), 0.15), strict=True)):
        own = cloud.own[group][0]
        found = [bootstrap_interval(own[cloud.bins == int(name)]) for name in bins]
        lines = pd.DataFrame(found, columns=Interval._fields)
        style = {"color": look[group], "marker": MARKERS[i % len(MARKERS)], "markersize": 4}
        style |= {"linewidth": 1.4, "elinewidth": 0.9, "capsize": 2, "label": group}
        axis.errorbar(np.arange(len(bins)) + shift, lines["mean"], yerr=reach(lines), **style)
    name_bins(axis, bins)
    distance = f"{cloud.metric} distance"
    tidy(axis, "distance to the own true face ↓", "hole area (%)", distance)
    legend_beside(axis, 1.0)
    figure.tight_layout()
    return figure
