"""Ensembles against the best of their members."""

import json

import numpy as np
import pytest
import torch
from evaluation_stubs import result, texts
from safetensors.torch import save_file

from deocclude.engines.evaluation.ensemble_tables import member_tables
from deocclude.engines.evaluation.inpainting_tables import build_tables
from deocclude.engines.evaluation.summaries import summarise
from deocclude.engines.measures import inpainting
from deocclude.engines.measures.inpainting import model_row
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.runs.recipes import MemberFile, write_recipe


def row(folder, name, psnr, members=(), seeds=(), bins=None, **values):
    """A measured row that says what it is made of; `bins`: the PSNR of bins 0 and 1."""
    made = result(folder, name, psnr, **({"ssim": 0.5, "l1": 0.1} | values))
    if bins is not None:
        frame = made.frame()
        frame["composed/psnr"] = frame["bin"].map(dict(enumerate(bins)))
        frame.to_csv(made.path, index=False)
    behind = {"identity": name, "members": list(members)}
    return RowResult(made.path, made.info | behind, seeds=tuple(seeds))


def test_each_bin_is_compared_with_the_member_that_is_best_there(tmp_path):
    results = [
        row(tmp_path, "a", 0, bins=(30, 20)),
        row(tmp_path, "b", 0, bins=(28, 21.5)),
        row(tmp_path, "other", 0, bins=(40, 40)),
        row(tmp_path, "both", 0, ["a", "b"], bins=(30.5, 21)),
    ]
    table, ssim = member_tables(results)
    assert table.title == (
        "PSNR of ensembles minus that of their best member, composed, whole image"
    )
    assert table.columns == ["", "1–10 %", "10–20 %", "mean of bins"]
    (cells,) = table.rows
    assert [cell.text for cell in cells] == [
        "both", "+0.50 [+0.50, +0.50]", "-0.50 [-0.50, -0.50]", "+0.75 [+0.75, +0.75]",
    ]  # fmt: skip
    assert [cell.best for cell in cells] == [False, True, False, True]
    assert table.notes[0] == "Best member: a (1–10 %, mean of bins); b (10–20 %)."
    assert ssim.title.startswith("SSIM of")
    assert texts(ssim, "mean of bins") == ["+0.0000 [+0.0000, +0.0000]"]
    assert not ssim.rows[0][-1].best


def test_only_ensembles_with_all_members_among_the_rows_are_compared(tmp_path):
    a, b = row(tmp_path, "a", 20), row(tmp_path, "b", 21)
    both = row(tmp_path, "both", 22, ["a", "b"])
    three = row(tmp_path, "three", 23, ["a", "b", "c"])
    assert member_tables([a, b]) == []
    assert member_tables([a, b, three]) == []
    table = member_tables([a, b, both, three])[0]
    assert texts(table, "") == ["both"]
    assert "Left out, as not all members are rows here: three." in table.notes
    built = build_tables([a, b, both], summarise([a, b, both], "a"), "a")
    assert any(each.title.startswith("PSNR of ensembles") for each in built)


def test_seeds_are_compared_as_a_whole_and_widen_the_interval(tmp_path):
    members, ensembles = [], []
    for seed, (alone, together) in enumerate(((20.0, 21.0), (21.0, 21.5), (22.0, 23.5))):
        members.append(row(tmp_path, f"a{seed}", alone, noise=0.1))
        members.append(row(tmp_path, f"b{seed}", 10.0))
        names = [f"a{seed}", f"b{seed}"]
        ensembles.append(row(tmp_path, f"e{seed}", together, names, noise=0.1))
    a = row(tmp_path, "a", 0, seeds=members[::2])
    b = row(tmp_path, "b", 0, seeds=members[1::2])
    both = row(tmp_path, "both", 0, seeds=ensembles)
    plain, seeded, *_ = member_tables([a, b, both])
    assert seeded.title.endswith("intervals with seeds resampled")
    values = [[part.strip("[],") for part in table.rows[0][-1].text.split()] for table in
              (plain, seeded)]  # fmt: skip
    narrow, wide = (np.array(each, float) for each in values)
    assert narrow[0] == wide[0] == pytest.approx(1.0, abs=0.1)
    assert wide[2] - wide[1] > 3 * (narrow[2] - narrow[1])
    assert wide[1] > 0  # each seed's ensemble is ahead of its own member, by 1.0, 0.5 and 1.5
    assert plain.notes[0] == "Best member: a."
    # A member of one seed's ensemble is not among those of the others.
    alone = member_tables([a, members[1], both])
    assert alone == []


def test_a_member_without_values_is_not_the_best(tmp_path):
    results = [
        row(tmp_path, "a", 20),
        row(tmp_path, "b", np.nan),
        row(tmp_path, "both", 21, ["a", "b"]),
    ]
    assert member_tables(results)[0].notes[0] == "Best member: a."
    results = [row(tmp_path, name, np.nan) for name in "ab"]
    results.append(row(tmp_path, "both", 21, ["a", "b"]))
    assert texts(member_tables(results)[0], "mean of bins") == ["–"]


def test_a_row_names_the_members_that_its_file_points_to(tmp_path, monkeypatch):
    monkeypatch.setattr(inpainting, "weights_identity", lambda path: "all")
    members = []
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
        members.append(MemberFile(tmp_path / name, f"digest of {name}", {}, name))
    write_recipe(tmp_path / "e.yaml", members, "e", "mean")
    made = model_row("e", tmp_path / "e.yaml")
    assert made.members == ("digest of a", "digest of b")
    assert model_row("e", tmp_path / "e.yaml", flip=True).members == (
        "digest of a + flip", "digest of b + flip"
    )  # fmt: skip


def test_a_packed_ensemble_names_the_members_that_it_holds(tmp_path):
    entries = [{"name": name, "sha256": f"digest of {name}", "config": {}} for name in "ab"]
    path = tmp_path / "packed.safetensors"
    save_file({"w": torch.zeros(1)}, path, {"members": json.dumps(entries)})
    assert model_row("packed", path).members == ("digest of a", "digest of b")
    save_file({"w": torch.zeros(1)}, path, {"config": "{}"})
    assert model_row("alone", path).members == ()
