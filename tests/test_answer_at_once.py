"""Commands answer --help, --list and what is wrong before they import what takes seconds.

One process goes through many command lines, so that what one of them imports shows at once. What
each prints and how it ends is checked elsewhere; here, that it is an answer and what it loads.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from deocclude.engines.cli.analyses import ANALYSES

ROOT = Path(__file__).resolve().parent.parent
SLOW = {
    "torch", "torchvision", "torchmetrics", "matplotlib", "pandas", "timm", "accelerate", "scipy",
    "segmentation_models_pytorch", "skimage", "sklearn", "umap", "optuna", "mediapipe", "gdown",
    "tensorboard", "huggingface_hub", "av", "gradio", "gradio_client",
}  # fmt: skip

# Runs each command line of standard input, a JSON list each, and says how it ended, what it
# printed, and which of the slow modules are there.
RUN_EACH = """
import contextlib, io, json, runpy, sys

root, slow = sys.argv[1], set(json.loads(sys.argv[2]))
sys.path.insert(0, root)
from pathlib import Path
from deocclude.engines.runs import places
places.OWN = Path("no runs of this checkout")
for line in sys.stdin.read().splitlines():
    words = json.loads(line)
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        sys.argv = words[1:] if words[0] == "-m" else words
        try:
            if words[0] == "-m":
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(f"{root}/{words[0]}", run_name="__main__")
        except SystemExit as end:
            code = end.code
    text = said.getvalue() + ("" if isinstance(code, int) else str(code))
    print(json.dumps({"code": code, "text": text, "loaded": sorted(slow & sys.modules.keys())}))
"""

TRAIN = ("train_inpainting.py", "train_segmentation.py", "train_identity.py")
WRONG = "did you mean"
FIT = ("-m", "engines.ensemble", "fit", "--members")
# Said once it is clear that the page could be made.
PAGE_MISTAKES = [
    ("app.py", "--checkpoint", "no.safetensors", "no such weights file"),
    ("-m", "deocclude", "app", "--checkpoint", "Reconstrution", f"{WRONG} reconstruction?"),
    ("app.py", "--checkpoint", "faithfull", f"{WRONG} faithful?"),
    ("app.py", "--segmenter", "newest", "no finished segmenter below runs"),
] if find_spec("gradio") else [("app.py", "the page needs Gradio: pip install")]  # fmt: skip
# Command lines, and what must be in the answer.
HELP = [
    *((script, "--help", "usage") for script in (*TRAIN, "deocclude.py")),
    ("evaluate.py", "--help", "inpainting"),
    *(
        ("evaluate.py", command, "--help", "usage")
        for command in (
            "inpainting", "segmentation", "end-to-end", "identity", "losses", "analyse",
        )
    ),
    *(
        ("evaluate.py", "analyse", name, "--help", "usage")
        for name in ANALYSES
    ),
    *(
        ("-m", module, "--help", "usage")
        for module in (
            "engines.suite", "engines.search", "engines.ensemble", "data.occluders",
            "data.download", "deocclude",
        )
    ),
    ("-m", "engines.ensemble", "fit", "--help", "usage"),
    ("app.py", "--help", "usage"),
    ("-m", "deocclude", "app", "--help", "usage"),
    *((script, "--list", "  ") for script in TRAIN),
]  # fmt: skip
MISTAKES = [
    ("train_inpainting.py", "Reconstrution", f"{WRONG} reconstruction?"),
    ("train_segmentation.py", "Reconstruction", "is trained by train_inpainting.py"),
    ("train_inpainting.py", "--profile", "smal", f"{WRONG} small?"),
    ("train_inpainting.py", "--data", "nowhere", "--data 'nowhere': no such folder"),
    ("train_inpainting.py", "--set", "training.epoch=3", f"{WRONG} epochs?"),
    ("train_inpainting.py", "--set", "training.epochs=three", "training.epochs = 'three'"),
    ("train_inpainting.py", "--set", "model.name=ifacnet", f"{WRONG} ifacenet?"),
    ("train_inpainting.py", "--set", "losses.hole_l2={weight: 1}", f"{WRONG} hole_l1?"),
    ("train_inpainting.py", "--set", "losses.l1={weight: heavy}", "'heavy' must be a number"),
    ("train_inpainting.py", "--set", "init_from=Recontruction", f"{WRONG} reconstruction?"),
    ("train_inpainting.py", "--resume", "7", "no run '7' to continue"),
    ("train_inpainting.py", "--device", "gpu", "none of auto, cpu, cuda, cuda:1, mps"),
    ("train_inpainting.py", "--set", "model.widht=3", "has no option 'widht'"),
    ("train_inpainting.py", "--set", "losses.l1={weight: 1, region: x}", "has no option 'region'"),
    ("train_inpainting.py", "--set", "model=3", "model = 3: "),
    ("train_inpainting.py", "distill", "--teacher", "no.safetensors", "no such weights file"),
    ("train_inpainting.py", "--set", "init_from=photo.jpg", "photo.jpg: is empty"),
    ("train_inpainting.py", "--masks", "", "argument --masks: is empty"),
    ("train_inpainting.py", "--resume", "", "argument --resume: is empty"),
    ("train_segmentation.py", "--output", "", "argument --output: is empty"),
    ("train_segmentation.py", "--set", "data.preset=mixt", "'mixt' is not one of mixed"),
    ("train_identity.py", "EficientNetB0", f"{WRONG} efficientnetb0?"),
    ("evaluate.py", "no finished inpainter below runs"),
    ("evaluate.py", "--runs", "Reconstrution", f"{WRONG} reconstruction?"),
    ("evaluate.py", "--suite", "sistems", f"{WRONG} systems?"),
    ("evaluate.py", "--runs", "none", "--data", "nowhere", "no such folder"),
    ("evaluate.py", "--runs", "none", "--baselines", "tela", f"{WRONG} telea?"),
    ("evaluate.py", "--checkpoint", "shiped", f"{WRONG} shipped?"),
    ("evaluate.py", "--checkpoint", "faithfull", f"{WRONG} faithful?"),
    ("evaluate.py", "--checkpoint", "UNte", f"{WRONG} unet?"),
    ("evaluate.py", "--checkpoint", "photo.jpg", "photo.jpg: is empty; needed is a safetensors"),
    ("evaluate.py", "--runs", "none", "--data", "", "argument --data: is empty"),
    ("evaluate.py", "--runs", "none", "--lpips-weights", "alex=no.pth", "no.pth: no such file"),
    ("evaluate.py", "--suite", "", "argument --suite: is empty"),
    ("evaluate.py", "segmentation", "--checkpoint", "no.safetensors", "no such weights file"),
    ("evaluate.py", "end-to-end", "--runs", "UNte", f"{WRONG} unet?"),
    ("evaluate.py", "identity", "--runs", "EficientNetB0", f"{WRONG} efficientnetb0?"),
    ("evaluate.py", "losses", "--suite", "sistems", f"{WRONG} systems?"),
    ("evaluate.py", "analyse", "cka", "--runs", "Reconstrution", f"{WRONG} reconstruction?"),
    ("evaluate.py", "analyse", "kca", "invalid choice: 'kca'"),
    ("evaluate.py", "--device", "cuda:x", "none of auto, cpu, cuda, cuda:1, mps"),
    ("deocclude.py", "nothere.jpg", "nothere.jpg: no such file or folder"),
    ("deocclude.py", "photo.jpg", "--face-box", "1,2,3", "'1,2,3': must be LEFT,TOP,WIDTH"),
    ("deocclude.py", "photo.jpg", "--faces", "all", "must be a whole number, found 'all'"),
    ("deocclude.py", "photo.jpg", "--checkpoint", "no.safetensors", "no such weights file"),
    ("deocclude.py", "photo.jpg", "--checkpoint", "Reconstrution", f"{WRONG} reconstruction?"),
    ("deocclude.py", "photo.jpg", "--landmarker", "no.task", "no.task: no such file"),
    ("deocclude.py", "photo.jpg", "-o", "", "argument -o/--output: is empty"),
    ("deocclude.py", "", "argument IN: is empty"),
    ("deocclude.py", "photo.jpg", "--mask", "", "argument --mask: is empty"),
    ("deocclude.py", "photo.jpg", "--manifest", "", "argument --manifest: is empty"),
    ("deocclude.py", "photo.jpg", "--segmenter", "newest", "no finished segmenter below runs"),
    ("app.py", "--port", "0", "argument --port: must be"),
    ("app.py", "--max-files", "many", "argument --max-files: must be"),
    ("app.py", "--host", "", "argument --host: is empty"),
    ("app.py", "--device", "gpu", "none of auto, cpu, cuda, cuda:1, mps"),
    *PAGE_MISTAKES,
    ("-m", "engines.suite", "sistems", f"{WRONG} systems?"),
    ("-m", "engines.suite", "systems", "--profile", "smal", f"{WRONG} small?"),
    ("-m", "engines.suite", "systems", "--set", "trainig.seed=1", f"{WRONG} training?"),
    ("-m", "engines.search", "Reconstrution", f"{WRONG} reconstruction?"),
    ("-m", "engines.search", "Reconstruction", "--set", "trainig.seed=1", f"{WRONG} training?"),
    (*FIT, "no.safetensors", "photo.jpg", "no such weights file"),
    (*FIT, "UNte", "Reconstrution", f"{WRONG} unet?"),
    ("-m", "engines.ensemble", "show", "nothere.yaml", "nothere.yaml: no such ensemble file"),
    ("-m", "data.occluders", "--sheet", "s.png", "--faces", "nowhere", "nowhere: no such folder"),
    ("-m", "data.download", "facess", "invalid choice: 'facess'"),
]


@pytest.mark.parametrize("lines", [HELP, MISTAKES], ids=["help", "mistakes"])
def test_commands_answer_without_what_is_slow_to_import(tmp_path, lines):
    (tmp_path / "photo.jpg").write_bytes(b"")
    environment = {key: value for key, value in os.environ.items() if key != "DEOCCLUDE_DATA"}
    done = subprocess.run(
        [sys.executable, "-c", RUN_EACH, str(ROOT), json.dumps(sorted(SLOW))],
        input="\n".join(json.dumps(line[:-1]) for line in lines),
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for (*words, expected), answer in zip(lines, answers, strict=True):
        assert answer["loaded"] == [], f"{' '.join(words)} imports {answer['loaded']}"
        assert expected in answer["text"], f"{' '.join(words)}: {answer['text'][-400:]}"
        assert (answer["code"] in (0, None)) == (lines is HELP), " ".join(words)
        assert "Traceback" not in answer["text"]
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
