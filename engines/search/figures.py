"""Figures of a search: Optuna's own, with the best trial and the run's own weights marked."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.importance import BaseImportanceEvaluator
from optuna.visualization import matplotlib as plots

from deocclude.engines.report.charts import COLOURS
from deocclude.engines.report.grids import INK

GREY = "#9A9A9A"


def study_figures(
    study: optuna.Study,
    objective: str,
    terms: Sequence[str],
    limits: tuple[float, float],
    own: float | None = None,
    evaluator: BaseImportanceEvaluator | None = None,
) -> dict[str, Figure]:
    """The value by trial, by epoch and by weight, and what an `evaluator` says of the weights.

    limits: the smallest and the largest weight. own: the value of the run's own weights.
    ValueError for a study without a complete trial.
    """
    best = f"Trial{study.best_trial.number}"
    with _by_pyplot() as drawn:
        axis = plots.plot_optimization_history(study, target_name=objective)
        axis.set_title(f"{objective}, by trial")
        if own is not None:
            axis.axhline(own, color=INK, linestyle=":", label="the run's own weights")
            axis.legend(bbox_to_anchor=(1.05, 1.0), loc="upper left")
        drawn["history"] = axis.figure

        axis = plots.plot_intermediate_values(study)
        axis.set(title=f"{objective}, by epoch", xlabel="epoch", ylabel=objective)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        for line in axis.lines:  # too many for a colour and a name each
            chosen = line.get_label() == best
            line.set(color=COLOURS[1] if chosen else GREY, zorder=3 if chosen else 2)
        axis.legend([line for line in axis.lines if line.get_label() == best], ["the best"])
        drawn["courses"] = axis.figure

        panels = plots.plot_slice(study, params=list(terms), target_name=objective)
        room = 0.04 * (limits[1] - limits[0])
        for axis in np.ravel(panels):
            axis.set_xlim(limits[0] - room, limits[1] + room)
        axis.figure.suptitle(f"{objective}, by weight")
        drawn["weights"] = axis.figure

        if evaluator is not None:
            axis = plots.plot_param_importances(study, evaluator=evaluator)
            axis.set(title="importance of each weight (PED-ANOVA)", xlabel="", ylabel="")
            axis.get_legend().remove()
            axis.figure.tight_layout()
            drawn["importance"] = axis.figure
    return drawn


@contextmanager
def _by_pyplot() -> Iterator[dict[str, Figure]]:
    """For figures that Optuna draws: no window opens, and pyplot is as before afterwards."""
    import matplotlib.pyplot as plt

    backend, drawn = plt.get_backend(), {}
    plt.switch_backend("agg")
    try:
        with plt.style.context("default"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental; a slice of one trial has no width
            yield drawn
    finally:
        for figure in drawn.values():
            plt.close(figure)
        with suppress(ImportError):  # one that this machine cannot show
            plt.switch_backend(backend)
