"""`benchmarks/systems.py`: what a cell measures, what is kept, what the tables claim."""

import json
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import systems, systems_cell
from benchmarks.systems import SYSTEMS
from benchmarks.systems_cell import MISSING_PRECISION, cell_config
from benchmarks.systems_tables import inference_table, memory_table, training_table
from deocclude import models
from deocclude.engines.inference.cost import FAILED, MEASURED, TOO_LARGE, failure
from deocclude.engines.report.tables import MISSING
from deocclude.engines.runs.config import available_runs, load_config

SMALL = ["--size", "32", "--batch", "2", "--steps", "1", "--device", "cpu", "--threads", "1"]
SMALL += ["--runs", "facial_deocclusion", "--set", "model.width=4"]
NUMBERS = {
    "status": MEASURED, "load": 0.5, "device_type": "cpu", "images_per_second": 2.0,
    "lowest": 1.5, "highest": 2.5, "cores_used": 0.98, "peak_mib": 1000.0, "before_mib": 200.0,
    "parameters": 3_000_000, "features_parameters": 0, "macs": 5e9, "median_ms": 50.0,
    "p95_ms": 60.0, "alone_per_second": 20.0, "batch_per_second": 30.0,
}  # fmt: skip


def record(precision: str = "no", size: int = 256, **numbers) -> dict:
    place = {"run": "occlufix", "size": size, "precision": precision, "batch": 2, "threads": 1}
    return place | NUMBERS | numbers


def texts(table) -> list[dict[str, str]]:
    return [
        dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows
    ]


def test_default_runs_show_every_published_inpainter():
    published = set(models.INPAINTERS) - {"ensemble", "student", "coarse_to_fine"}
    assert {load_config(run).model.name for run in SYSTEMS} == published


@pytest.mark.parametrize("run", available_runs())
def test_every_run_can_be_measured_without_files(run):
    config = cell_config(run, 64, "bf16", 2, None, ["training.seed=7"])
    assert (config.data.size, config.training.batch_size) == (64, 2)
    assert (config.training.mixed_precision, config.training.seed) == ("bf16", 7)
    assert config.init_from is None
    assert config.training.features_weights == "random"
    assert config.features is None or config.features.weights == "random"
    assert config.model_options().get("pretrained", False) is False
    assert all(isinstance(term["weight"], int | float) for term in config.losses.values())
    assert all(term["weight"] > 0 for term in config.losses.values())


def test_scheduled_weights_stand_at_their_largest():
    losses = cell_config("occlufix", 64, "no", 2, None, []).losses
    assert losses["adversarial_patch"]["weight"] == pytest.approx(0.1)
    assert losses["l1"]["weight"] == 10


def test_a_cell_measures_training_and_restoring(capsys):
    assert systems.main(["--cell", *SMALL, "--precision", "bf16"]) == 0
    cell = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert cell["status"] == MEASURED
    assert 0 < cell["lowest"] <= cell["images_per_second"] <= cell["highest"]
    assert cell["peak_mib"] >= cell["before_mib"] * 0.9 > 0
    network = models.create_inpainter("facial_deocclusion", width=4)
    assert cell["parameters"] == sum(p.numel() for p in network.parameters())
    assert cell["features_parameters"] == 0 < cell["discriminator_parameters"]
    assert cell["alone_per_second"] == pytest.approx(1000 / cell["median_ms"])
    assert min(cell["macs"], cell["batch_per_second"], cell["cores_used"]) > 0
    assert cell["restoring_cores_used"] > 0


def test_restoring_is_in_the_precision_of_the_cell(monkeypatch):
    """float32 without autocast, bfloat16 inside the network with it."""
    seen = {}
    for precision in ("no", "bf16"):
        config = cell_config("facial_deocclusion", 32, precision, 1, None, ["model.width=4"])
        runtime = systems_cell.start_runtime(precision, "cpu")
        inpainter = systems_cell.build_trainer(config, runtime, 10).released()
        kinds = seen.setdefault(precision, set())
        for module in inpainter.network.modules():
            if type(module).__name__ == "Conv2d":
                module.register_forward_hook(lambda m, i, out, kinds=kinds: kinds.add(out.dtype))
        forward = systems_cell._in_precision(inpainter, runtime)
        image = systems_cell.torch.rand(1, 3, 32, 32)
        assert forward(image, image[:, :1].round()).dtype == systems_cell.torch.float32
    assert seen == {"no": {systems_cell.torch.float32}, "bf16": {systems_cell.torch.bfloat16}}


def test_cells_have_processes_and_are_measured_once(tmp_path, capsys, monkeypatch):
    command = [*SMALL, "--output", str(tmp_path), "--precision", "no"]
    assert systems.main(command) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == (tmp_path / "systems.md").read_text(encoding="utf-8").strip()
    (cell,) = json.loads((tmp_path / "systems.json").read_text(encoding="utf-8"))
    (line,) = pd.read_csv(tmp_path / "systems.csv").to_dict("records")
    assert cell["run"] == line["run"] == "facial_deocclusion"
    assert line["images_per_second"] == pytest.approx(cell["images_per_second"], rel=1e-4)

    measured = []

    def stub(config, run, arguments):
        measured.append(config.training.mixed_precision)
        return {"status": FAILED, "reason": "stub"}

    monkeypatch.setattr(systems, "cell_apart", stub)
    assert systems.main(command) == 0
    assert not measured
    assert systems.main([*command, "bf16"]) == 1
    assert systems.main([*command, "bf16"]) == 1  # what failed is tried again
    assert measured == ["bf16", "bf16"]
    assert systems.main([*command, "--again"]) == 1
    assert systems.main([*command, "--set", "training.channels_last=true"]) == 1
    assert measured[2:] == ["no", "no"]


def test_a_precision_that_would_be_full_is_not_measured(tmp_path, capsys, monkeypatch):
    """fp16 on a CPU."""
    assert systems.main(["--cell", *SMALL, "--precision", "fp16"]) == 0
    cell = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert cell["status"] == MISSING_PRECISION
    monkeypatch.setattr(systems, "cell_apart", lambda *_: cell)
    assert systems.main([*SMALL, "--precision", "fp16", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "facial_deocclusion, 32 px, fp16: not on this device" in printed
    assert printed.count("| facial_deocclusion |      fp16 |") == 3


def test_a_cell_without_memory_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    def stub(config, run, arguments):
        if config.training.mixed_precision == "no":
            return {"status": TOO_LARGE, "reason": "killed by the system"}
        return dict(NUMBERS)

    monkeypatch.setattr(systems, "cell_apart", stub)
    command = [*SMALL, "--precision", "no", "bf16", "--output", str(tmp_path)]
    assert systems.main(command) == 1
    printed = capsys.readouterr().out
    assert "32 px, no: out of memory (killed by the system)" in printed
    assert "| 32  | facial_deocclusion |      bf16 |" in printed
    assert len(list(Path(tmp_path, "rows").iterdir())) == 1  # failures are not kept


@pytest.mark.parametrize(
    ("code", "errors", "status", "reason"),
    [
        (1, "a\nRuntimeError: shapes differ\n", FAILED, "exit code 1: RuntimeError: shapes differ"),
        (1, "RuntimeError: DefaultCPUAllocator: can't allocate memory: x", TOO_LARGE, "allocate"),
        (1, "", FAILED, "no message"),
    ],
)
def test_a_failure_has_a_name(code, errors, status, reason):
    found = failure(code, errors)
    assert found["status"] == status
    assert reason in found["reason"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process_counts_as_out_of_memory():
    assert failure(-signal.SIGKILL, "")["status"] == TOO_LARGE


@pytest.mark.parametrize(("peak", "reached"), [(549.0, True), (550.0, False)])
def test_memory_claim_is_more_than_45_percent(peak, reached):
    table = memory_table([record(), record("bf16", peak_mib=peak)])
    (row,) = texts(table)
    assert row["peak saved"] == "45%"
    assert row["step's own saved"] == f"{1 - (peak - 200) / 800:.0%}"
    notes = " ".join(table.notes)
    assert ("not reached by" in notes) is not reached
    assert "a CPU's peak" in notes
    gpu = memory_table([record(device_type="cuda"), record("bf16", device_type="cuda")])
    assert "a CPU's peak" not in " ".join(gpu.notes)


def test_without_full_precision_nothing_is_related():
    failed = record("bf16") | {"status": FAILED}
    for cells in ([failed], [record(size=64), failed], [record(peak_mib=float("nan")), failed]):
        (row,) = texts(memory_table(cells))
        assert row["peak saved"] == MISSING
    assert "not measured" in memory_table([record()]).notes[-2]
    empty = {k: v for k, v in record("fp16").items() if k not in NUMBERS} | {"status": FAILED}
    row = texts(training_table([record(), empty]))[1]
    assert {row[name] for name in ("images/s", "(range)", "to full", "peak MiB")} == {MISSING}


def test_training_is_related_to_full_precision_of_the_same_run_and_size():
    cells = [record(size=64, images_per_second=9.0), record(), record("bf16")]
    cells[2]["images_per_second"] = 3.0
    assert [row["to full"] for row in texts(training_table(cells))] == [
        "1.00 x",
        "1.00 x",
        "1.50 x",
    ]


def test_real_time_is_25_images_a_second_at_256_pixels():
    cells = [record(size=64, alone_per_second=90.0), record(alone_per_second=24.9)]
    note = inference_table(cells).notes[-1]
    assert "; " not in note
    assert "not reached by occlufix in no (24.9)" in note
    note = inference_table([record("bf16", alone_per_second=25.0)]).notes[-1]
    assert ": reached by occlufix in bf16 (25.0)" in note
    assert "not measured" in inference_table([record(size=64)]).notes[-1]


def test_wrong_commands_are_named(tmp_path, capsys):
    command = [*SMALL, "--output", str(tmp_path)]
    assert systems.main([*command, "--batch", "2", "4"]) == 1
    assert "--batch: 2 numbers for 1 sizes" in capsys.readouterr().err
    assert systems.main([*command, "--runs", "oclufix"]) == 1
    assert "did you mean occlufix" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
