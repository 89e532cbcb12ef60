"""End-to-end tables, made from what `engines.evaluation.summaries.summarise_cases` found."""

from dataclasses import replace

import pandas as pd

from deocclude.data.occluders.groups import OCCLUDED, UNOCCLUDED
from deocclude.engines.evaluation.segmentation_tables import group_title
from deocclude.engines.inference.baselines import LABELS
from deocclude.engines.measures.end_to_end import BLIND, TRUE
from deocclude.engines.report.tables import (
    REFERENCE,
    Cell,
    Table,
    column,
    decimals,
    pivot,
    table_of,
)
from deocclude.metrics.table import HIGHER_IS_BETTER, OF_PIXELS, SHORT


def end_to_end_tables(frame: pd.DataFrame, size: int, held_out: bool = True) -> list[Table]:
    """PSNR by mask and its loss for each group first, then everything else.

    `held_out` as in FrozenOccluded.
    """
    titles = {}
    for group in [group for group in OCCLUDED if frame["group"].eq(group).any()]:
        title = group_title(group, held_out)
        titles[group] = title[0].lower() + title[1:]
    frame = frame.assign(case=list(map(case_name, frame["inpainter"], frame["mask"])))
    plain = frame[frame["dilation"].eq(0)]
    heads, tables = _mask_heads(frame), []
    for group, title in titles.items():
        psnr = plain[plain["group"].eq(group) & plain["metric"].eq("image/psnr")]
        tables += [psnr_table(psnr, heads, title), loss_table(psnr, heads, title)]
    dilated = frame[frame["metric"].eq("image/psnr")]
    tables += [dilation_table(dilated[dilated["group"].eq(g)], t, size) for g, t in titles.items()]
    tables += [detail_table(plain[plain["group"].eq(g)], t) for g, t in titles.items()]
    tables.append(harm_table(plain[plain["group"].eq(UNOCCLUDED)], heads))
    return [table for table in tables if table is not None]


def case_name(inpainter: str, mask: str) -> str:
    """A case as a table's line is called."""
    if inpainter == LABELS["occluded"]:
        return inpainter
    return f"{inpainter}, {mask if mask in (TRUE, BLIND) else f'mask of {mask}'}"


def _mask_heads(frame: pd.DataFrame) -> dict[str, str]:
    """What the column of each mask is called: the true one, the segmenters', none."""
    masks = dict.fromkeys(frame["mask"])
    found = {mask: f"mask of {mask}" for mask in masks if mask not in (TRUE, BLIND)}
    return {TRUE: TRUE} | found | ({BLIND: BLIND} if BLIND in masks else {})


def psnr_table(psnr: pd.DataFrame, heads: dict[str, str], group: str) -> Table:
    """Inpainters by mask: PSNR of the whole picture."""
    title = f"PSNR (dB), composed, whole image, by mask: {group}"
    form = decimals("psnr")
    return pivot(psnr, "inpainter", "mask", form=form, title=title, heads=heads, higher=True)


def loss_table(psnr: pd.DataFrame, heads: dict[str, str], group: str) -> Table:
    """What each segmenter's mask costs each inpainter against the true mask, in dB."""
    known = psnr["inpainter"].isin(psnr.loc[psnr["mask"].eq(TRUE), "inpainter"])
    table = pivot(
        psnr[known], "inpainter", "mask", form=decimals("psnr", "+"), of="loss", interval=True,
        heads={mask: head for mask, head in heads.items() if mask != TRUE},
        title=f"Loss in PSNR from not knowing the mask (dB) [95 %]: {group}",
    )  # fmt: skip
    return replace(table, higher=False)  # said, and no best marked: the masks differ


def detail_table(frame: pd.DataFrame, group: str) -> Table:
    """Every case without dilation: all metrics of the whole picture and of the true hole."""
    psnr = frame[frame["metric"].eq("image/psnr")]
    names = list(psnr["case"])
    columns = []
    for view, where in (("image", ""), ("hole", ", hole")):
        for metric in OF_PIXELS:
            lines = frame[frame["metric"].eq(f"{view}/{metric}")]
            form, higher = decimals(metric), HIGHER_IS_BETTER[metric]
            cells = column(lines, names, form, by="case", higher=higher)
            columns.append((f"{SHORT[metric]}{where}", cells))
    losses = column(psnr, names, decimals("psnr", "+"), by="case", of="loss", interval=True)
    known = zip(psnr["mask"], losses, strict=True)
    losses = [REFERENCE if mask == TRUE else cell for mask, cell in known]
    columns.insert(1, ("loss (dB) [95 %]", losses))
    notes = [
        f"{line.case}: {line.infinite} exactly restored images have infinite PSNR and are not "
        "part of its means."
        for line in psnr[psnr["infinite"] > 0].itertuples()
    ]
    return table_of(f"Every inpainter with every mask: {group}", names, columns, notes)


def dilation_table(psnr: pd.DataFrame, group: str, size: int) -> Table | None:
    """PSNR by the dilation of the mask, best of each line marked; None when none was dilated."""
    dilated = psnr[psnr["dilation"].gt(0)]
    rows, radii = [], sorted({0, *dilated["dilation"]})
    for name in dict.fromkeys(dilated["case"]):
        lines = psnr[psnr["case"].eq(name)]
        cells = column(lines, radii, decimals("psnr"), by="dilation", higher=True)
        rows.append([Cell(name), *cells])
    if not rows:
        return None
    shares = [f"{radius} px ({radius / size:.1%})" if radius else "0 px" for radius in radii]
    title = f"PSNR (dB) by dilation of the mask: {group}"
    note = f"Pixels at {size} px; in brackets the share of the side. Euclidean discs."
    return Table(title, ["", *shares], rows, [note], higher=True)


def harm_table(bare: pd.DataFrame, heads: dict[str, str]) -> Table | None:
    """What is done to faces with nothing on them: mean absolute change; None without such faces."""
    if bare.empty:
        return None
    changed = bare[bare["metric"].eq("image/l1") & bare["mask"].ne(TRUE)]
    return pivot(
        changed, "inpainter", "mask", form=".2f", times=255,
        heads={mask: head for mask, head in heads.items() if mask != TRUE},
        title="Faces with nothing on them: mean absolute change in grey levels of 255 (0 is right)",
    )  # fmt: skip
