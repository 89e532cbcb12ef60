# %% [markdown]
# # The whole story, a cell at a time
#
# Faces, masks, hiding and composing, the model, its losses, a few training steps, the restored
# picture, a segmenter that finds the mask by itself, a table against the baselines, and what the
# weights that ship make of it. After `pip install -e .`, run it cell by cell in Spyder, VS Code or
# Jupyter; pictures appear inline, and go to `OUTPUT` too. `python walkthrough.py` runs it in one
# go, a few minutes on two CPU cores; `docs/walkthrough.ipynb` is the same as a notebook.
#
# Nothing here is a toy version: each cell calls what `train_inpainting.py`,
# `train_segmentation.py`, `evaluate.py` and `deocclude.py` call, only smaller. This file has no
# `if __name__ == "__main__":`, which cells cannot live under; it is safe on Windows without one
# because it starts no worker processes.

# %% Settings: enlarge these, then run everything below again
import argparse
import sys
from pathlib import Path

RUN = "ablationv1"  # any name that `python train_inpainting.py --list` prints
SEGMENTER = "unetlight"  # any name that `python train_segmentation.py --list` prints
DATA = None  # a folder; None: $DEOCCLUDE_DATA, else datasets/, else built-in faces; or "builtin"
SIZE = 64  # side in pixels, at least 32
BATCH = 8
STEPS = 160  # a real run makes thousands
TRAIN_FACES = 640
PER_BIN = 4  # test pairs in each of the six ratio bins
FEATURES = "random"  # VGG-19 of the losses; "auto" fetches the published weights, 550 MB
SHALLOW = True  # only VGG's first layers in the losses, half of the time; False: as published
OUTPUT = Path("runs/walkthrough")

# Run as a script, it has options, and --help answers at once. A notebook's arguments are not ours.
if "__file__" in globals() and Path(sys.argv[0]).resolve() == Path(__file__).resolve():
    parser = argparse.ArgumentParser(description="The whole story, step by step")
    add = parser.add_argument
    add("--quick", action="store_true", help="half a minute: 32 px, 30 steps, few faces")
    add("--data", default=DATA, metavar="DIR", help='a data folder, or "builtin": drawn faces')
    add(
        "--output",
        type=Path,
        default=OUTPUT,
        metavar="DIR",
        help="of pictures (default: %(default)s)",
    )
    options = parser.parse_args()
    DATA, OUTPUT = options.data, options.output
    if options.quick:
        SIZE, BATCH, STEPS, TRAIN_FACES, PER_BIN = 32, 4, 30, 32, 2

# %%
import time

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from deocclude.data.builtin.faces import render_face
from deocclude.data.contract import compose, hide, hole_ratio
from deocclude.data.images import load_image, to_tensor
from deocclude.data.mask_files.reading import load_mask
from deocclude.data.masks.shapes import RATIO_BINS, touches_border
from deocclude.data.pairs.tensors import load_occluded, load_pairs
from deocclude.data.pairs.training import PositionSampler, TrainingPairs, training_loader
from deocclude.data.sources.covered import open_segmentation_sources
from deocclude.data.sources.holes import open_sources
from deocclude.data.sources.root import data_root
from deocclude.engines.api import restore
from deocclude.engines.evaluation.inpainting_tables import build_tables
from deocclude.engines.evaluation.summaries import caption, summarise
from deocclude.engines.inference.baselines import BASELINES, BaselinePool
from deocclude.engines.inference.networks import read_inpainter, read_segmenter
from deocclude.engines.measures.inpainting import baseline_row, evaluate_rows, model_row
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.report import charts, figures
from deocclude.engines.report.grids import picture_grid
from deocclude.engines.report.writers import to_markdown
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.devices import device_name
from deocclude.engines.runs.released import FOLDER
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.runs.weights import save_release
from deocclude.engines.training.fit import CONTRACT
from deocclude.engines.training.gan_steps import loss_inputs
from deocclude.engines.training.inpainting import build_trainer
from deocclude.engines.training.segmentation import build_segmentation_trainer
from deocclude.metrics.image import psnr
from deocclude.models import create_discriminator, create_inpainter
from deocclude.models.blocks import count_parameters

root = None if DATA == "builtin" else data_root(DATA)
config = load_config(
    RUN,
    profile="quick" if root is None else "small",
    overrides=[
        f"data.size={SIZE}",
        f"data.builtin_images={TRAIN_FACES}",
        f"data.train_images={TRAIN_FACES}",
        f"data.test_per_bin={PER_BIN}",
        "data.workers=0",
        "training.epochs=1",
        f"training.epoch_images={STEPS * BATCH}",
        f"training.batch_size={BATCH}",
        f"training.learning_rate.warmup_steps={STEPS // 8}",
        f"training.features_weights={FEATURES}",
        "training.feature_terms=true",
        "training.mixed_precision=no",
        *(["losses.perceptual.layers=[relu1_1,relu2_1]"] if SHALLOW else []),
        *(["losses.style.layers=[relu2_2]"] if SHALLOW else []),
    ],
)
runtime = start_runtime(config.training.mixed_precision, seed=config.training.seed)
sources = open_sources(config.data, root)
config = config.model_copy(update={"data": sources.data})  # the faces tell how they are aligned


def present(figure, name):
    """A figure is a file first, and inline where something can show it."""
    print("picture:", figures.save(figure, OUTPUT / f"{name}.png"))
    figures.show(figure)


print(f"{config.name} at {SIZE} px on {device_name(runtime.device)}")
print("data:", sources.words("train", PER_BIN).rsplit(",", 1)[0])


# %% [markdown]
# ## 1. Faces
#
# Square RGB pictures, split so that nobody is in two splits. The built-in ones are rendered from
# an index. Look for what a model could learn here: symmetry, where eyes and mouth sit, skin that
# keeps its shading. They are no photographs, and numbers on them say little about photographs.

# %%
faces = sources.training_faces(OUTPUT)
sheet = [[faces[(8 * row + column) % len(faces)] for column in range(8)] for row in range(6)]
present(picture_grid(sheet, upscale=max(1, 96 // SIZE)), "1-faces")
print(f"{len(faces)} training faces, {sheet[0][0].dtype} {sheet[0][0].shape}")


# %% [markdown]
# ## 2. Masks
#
# White (1) is the hole. Six bins of hole area, each with masks clear of the border and masks that
# touch it: a hole at the border has known pixels on one side only and is harder. Scores are given
# for each bin, because a mean over unknown hole sizes cannot be compared with anybody else's.

# %%
masks, ratios = [], []
for border in (False, True):
    row = [sources.masks.fixed("test", 0, ratio_bin, border) for ratio_bin in range(6)]
    assert all(touches_border(mask) == border for mask in row)
    masks.append(row)
    ratios.append([f"{mask.mean():.1%}" for mask in row])
titles = [f"{low:.0%} to {high:.0%}" for low, high in RATIO_BINS]
labels = ["clear of\nthe border", "touching\nthe border"]
present(picture_grid(masks, titles, labels, ratios), "2-masks")


# %% [markdown]
# ## 3. Hiding and composing
#
# The only two places where image and mask meet. `hide` makes what the model sees. `compose` takes
# the prediction inside the hole and the input outside of it, so known pixels can never get worse.
# Here a mirrored face stands in for the prediction, to make plain which pixels come from where.

# %%
image = to_tensor(np.stack([faces[i] for i in range(4)]))  # (4, 3, H, W), float32 in [0, 1]
mask = to_tensor(np.stack([masks[i % 2][i + 1] for i in range(4)]))  # (4, 1, H, W) of {0, 1}
occluded = hide(image, mask, config.data.fill)
stand_in = image.flip(-1)
restored = compose(stand_in, occluded, mask)

names = ("image", "mask", "occluded", "stand-in", "restored")
columns = (image, mask, occluded, stand_in, restored)
rows = [dict(zip(names, (c[i] for c in columns), strict=True)) for i in range(4)]
present(figures.examples_grid(rows, scores=False), "3-hide-compose")

known = (mask == 0).expand_as(image)
print("hole ratios:", ", ".join(f"{ratio:.1%}" for ratio in hole_ratio(mask)))
print("known pixels kept bit for bit:", torch.equal(restored[known], image[known]))


# %% [markdown]
# ## 4. The model
#
# IFACENET: one or two sub-encoders side by side, self-attention over all positions, dilated
# convolutions for a wider view, a decoder without skip connections. Each ablation removes one
# part, so its score says what that part is worth. Note where the parameters are: the light encoder
# is 0.4 % of the full model, the ResNet-50 three quarters of it.

# %%
PARTS = ("encoders", "attention", "dilations", "decoder")
print(f"{'million parameters':30}{'total':>10}" + "".join(f"{part:>11}" for part in PARTS))
for name in ("reconstruction", "ablationv1", "ablationv2", "ablationv3"):
    variant = load_config(name)
    with torch.device("meta"):  # shapes only: counting needs neither memory nor a download
        network = create_inpainter(
            variant.model.name, **variant.model_options() | {"pretrained": False}
        )
    counts = [count_parameters(network.get_submodule(part)) / 1e6 for part in PARTS]
    print(
        f"{variant.name:30}{count_parameters(network) / 1e6:10.2f}"
        + "".join(f"{count:11.2f}" for count in counts)
    )
for role, each in config.discriminators.items():
    critic = create_discriminator(each.name, **each.options)
    print(f"{role:30}{count_parameters(critic) / 1e6:10.2f}")

# %% [markdown]
# ### What passes between the parts of the run chosen above

# %%
trainer = build_trainer(config, runtime, len(faces))
model = runtime.unwrap(trainer.generator)
with torch.no_grad():
    encoded = model.encode(occluded.to(runtime.device))
    attended = model.attention(torch.cat(list(encoded.values()), dim=1))
    widened = model.dilations(attended)
    prediction = model.decoder(widened)
stages = {"occluded": occluded} | {f"encoder {name}": x for name, x in encoded.items()}
stages |= {"attention": attended, "dilations": widened, "prediction": prediction}
for name, tensor in stages.items():
    print(f"{name:20}{tuple(tensor.shape)}")


# %% [markdown]
# ## 5. The losses of one batch
#
# Named terms and their weights, from the YAML. Read the last column: what each term pulls with
# before any training. `adversarial` is the generator's: how far the discriminator is from taking
# the prediction for a real picture. It stays near ln 2 = 0.69 while that one only guesses.

# %%
pairs = TrainingPairs(faces, sources.masks, config.training.seed, config.data.flip)
sampler = PositionSampler(BATCH, start=0, stop=STEPS, accumulate=1, rank=0, processes=1)
loader = training_loader(pairs, sampler, workers=0)

part = trainer.to_part(next(iter(loader)))
with torch.no_grad():
    guess = trainer.generator(part.occluded, part.mask)
    total, terms = trainer.loss(loss_inputs(trainer, trainer.discriminators, guess, part))
weights = trainer.loss.weights(epoch=0)
print(f"{'term':14}{'value':>10}{'weight':>10}{'product':>10}")
for name, value in terms.items():
    print(f"{name:14}{value:10.4f}{weights[name]:10.2f}{weights[name] * value:10.4f}")
print(f"{'total':14}{total:30.4f}")


# %% [markdown]
# ## 6. A few training steps
#
# Each step updates the generator with the discriminator frozen, then the discriminator on the
# predictions just made, then a running mean of the generator's weights (EMA), which is what gets
# used. `hole_l1` is the one to watch: the mean error inside the holes, on a scale
# of [0, 1].

# %%
history = []
began = time.perf_counter()
trainer.generator.train()
for batch in loader:
    terms = trainer.train_step([trainer.to_part(batch)])
    history.append({name: float(value) for name, value in terms.items()})
    if len(history) % max(1, STEPS // 5) == 0:
        rate = len(history) * BATCH / (time.perf_counter() - began)
        shown = ", ".join(f"{k} {history[-1][k]:.3f}" for k in ("total", "hole_l1", "adversarial"))
        print(f"step {len(history):4} of {STEPS}: {shown}, {rate:.1f} images/s")

few = max(1, STEPS // 5)
for name in ("total", "hole_l1"):
    values = [step[name] for step in history]
    first, last = np.mean(values[:few]), np.mean(values[-few:])
    print(f"{name}: mean of the first {few} steps {first:.4f}, of the last {few} {last:.4f}")

figure = Figure(figsize=(7, 3.2))
axis = figure.subplots()
for name, colour in zip(history[0], charts.COLOURS, strict=False):
    axis.plot([step[name] for step in history], label=name, color=colour, linewidth=1.5)
axis.set(xlabel="step", yscale="log", title="unweighted terms, and their weighted total")
axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
axis.grid(axis="y", alpha=0.3)
figure.tight_layout()
present(figure, "4-losses")


# %% [markdown]
# ## 7. The restored picture
#
# Test faces, which training never saw, from small holes to large ones, through the weights file
# that every later use starts from. After so few steps the prediction is a blurred average face:
# look whether tone and place fit, not for eyes. Only its hole reaches `restored`, which is why the
# numbers below the two columns differ so much.

# %%
weights_file = OUTPUT / "walkthrough.safetensors"
metadata = {"config": config.model_dump(mode="json"), "contract": CONTRACT}
save_release(weights_file, trainer.ema.module, metadata)
inpainter = read_inpainter(weights_file)

test_pairs = sources.frozen("test")
chosen = [ratio_bin * PER_BIN + ratio_bin % PER_BIN for ratio_bin in range(6)]
target, mask, occluded = load_pairs(test_pairs, chosen, inpainter.fill)
prediction = inpainter.restore(occluded, mask).cpu()
restored = compose(prediction, occluded, mask)
names = ("input", "mask", "prediction", "restored", "target")
columns = (occluded, mask, prediction, restored, target)
rows = [dict(zip(names, (c[i] for c in columns), strict=True)) for i in range(6)]
present(figures.examples_grid(rows), "5-restored")

# %% [markdown]
# ### A photo of any size and shape, as deocclude.py restores it

# %%
test_faces = sources.faces("test")
photo = load_image(test_faces.files[0]) if test_faces.files else render_face(5, 180)
photo = np.ascontiguousarray(photo[: 7 * photo.shape[0] // 8])  # no longer square
height, width = photo.shape[:2]
hole = np.zeros((height, width), np.uint8)
hole[height // 2 : 5 * height // 6, width // 4 : 3 * width // 4] = 1
whole = Deoccluder(inpainter).restore_photo(photo, hole)
covered = np.where(hole[..., None] == 1, np.uint8(255), photo)
columns = ["photo", "what the model may see", "restored"]
present(picture_grid([[photo, covered, whole]], columns), "6-photo")
print("known pixels kept:", np.array_equal(whole[hole == 0], photo[hole == 0]))


# %% [markdown]
# ## 8. Finding what covers the face
#
# So far the hole was given. A segmenter finds it: it sees a face with something on it and answers a
# logit a pixel. It is trained on faces whose occluder is put there by us, so that the mask is
# known: real cut-outs where a folder of them is at hand, drawn ones otherwise. This one is small
# and quick, and gets six times the steps. Look at the hard ones: what is see-through, thin, or has
# the colour of skin.

# %%
segmentation = load_config(
    SEGMENTER,
    profile="quick" if root is None else "small",
    overrides=[
        f"data.size={SIZE}",
        f"data.builtin_images={TRAIN_FACES}",
        f"data.train_images={TRAIN_FACES}",
        "data.test_per_kind=1",
        "data.workers=0",
        "training.epochs=1",
        f"training.epoch_images={6 * STEPS * BATCH}",
        f"training.batch_size={BATCH}",
        f"training.learning_rate.warmup_steps={STEPS // 8}",
        "training.optimizer.lr=0.003",
        "training.ema_decay=0.95",
        "training.mixed_precision=no",
    ],
    task="segmentation",
)
covered_faces = open_segmentation_sources(segmentation.data, root)
segmentation = segmentation.model_copy(update={"data": covered_faces.data})
occluded_pairs = covered_faces.training_pairs(segmentation.training.seed, OUTPUT)
shown = [occluded_pairs[i] for i in range(16)]
sheet = [[shown[row * 8 + k][part].numpy() for k in range(8)] for row in (0, 1) for part in (0, 1)]
sheet = [[np.moveaxis(p, 0, -1) if len(p) == 3 else p[0] for p in row] for row in sheet]
present(picture_grid(sheet, upscale=max(1, 96 // SIZE)), "7-occluders")

# %% [markdown]
# ### A few training steps: binary cross-entropy and Dice

# %%
segmenter = build_segmentation_trainer(segmentation, runtime, occluded_pairs.images)
more = PositionSampler(BATCH, start=0, stop=6 * STEPS, accumulate=1, rank=0, processes=1)
loader = training_loader(occluded_pairs, more, workers=0)
history = []
segmenter.network.train()
for batch in loader:
    terms = segmenter.train_step([segmenter.to_part(batch)])
    history.append({name: float(value) for name, value in terms.items()})
for name in ("bce", "dice"):
    values = [step[name] for step in history]
    first, last = np.mean(values[:few]), np.mean(values[-few:])
    print(f"{name}: mean of the first {few} steps {first:.4f}, of the last {few} {last:.4f}")
found = segmenter.validate(covered_faces.frozen("test"))
print(segmenter.headline(found))

# %% [markdown]
# ### Both networks together: found, hidden, redrawn

# %%
segmenter_file = OUTPUT / "walkthrough-segmenter.safetensors"
metadata = {"config": segmentation.model_dump(mode="json"), "contract": CONTRACT}
save_release(segmenter_file, segmenter.ema.module, metadata)
finder = read_segmenter(segmenter_file)

covered_pairs = covered_faces.frozen("test")
largest = sorted(range(len(covered_pairs)), key=lambda i: -covered_pairs.pairs[i].hole_ratio)[:6]
target, occluded, true_mask = load_occluded(covered_pairs, largest)
mask = finder.find(occluded).cpu()
prediction = inpainter.restore(hide(occluded, mask, inpainter.fill), mask).cpu()
restored = compose(prediction, occluded, mask)
names = ("input", "true mask", "found mask", "restored", "target")
columns = (occluded, true_mask, mask, restored, target)
rows = [dict(zip(names, (c[i] for c in columns), strict=True)) for i in range(6)]
present(figures.examples_grid(rows), "8-found")


# %% [markdown]
# ## 9. A table
#
# Every row restores the same frozen pairs, whose hash is printed: two tables with the same hash can
# be compared. Read a column downwards, a bin is one question put to every method. Even so small a
# table shows that all fall as the hole grows, and that a few steps do not make a model: what it has
# to beat is Telea. The intervals say how far differences on so few pairs can be trusted.

# %%
with BaselinePool(workers=0) as pool:
    rows = [model_row(config.name, weights_file)]
    rows += [baseline_row(name, pool) for name in BASELINES]
    results = evaluate_rows(rows, test_pairs, OUTPUT)
summary = summarise(results, reference=config.name)
psnr_table, ssim_table = build_tables(results, summary, config.name)[:2]
print(to_markdown([psnr_table, ssim_table], "Walkthrough", caption(results, config.name)))
kinds = {result.name: result.info["kind"] for result in results}
present(figures.ratio_figure(summary, kinds, ("psnr", "ssim")), "9-table")


# %% [markdown]
# ## 10. The same with the weights that ship
#
# Minutes of training on a few hundred faces, beside four hours on thousands: the same steps with
# the networks in `weights/`. A face is found in the picture and turned upright, what covers it is
# found and redrawn, and all is put back. Nobody here exists, and no network saw these faces before.
# Below the pictures: dB on the pixels that were covered, from the true face.

# %%
SIDE = 160  # pixels of a face in the picture
sheet = {name: [] for name in ("occluded", "trained above", "mask found", "ships", "original")}
scores = {name: [] for name in sheet}
for path in sorted((FOLDER.parent / "examples").glob("*.jpg")):
    trained = restore(path, checkpoint=weights_file, segmenter=segmenter_file)
    ships = restore(path)
    original = Image.open(path.parent / "originals" / path.name)
    true_mask = to_tensor(load_mask(path.parent / "masks" / f"{path.stem}.png")[None])
    pictures = (Image.open(path), trained.image, ships.mask.convert("RGB"), ships.image, original)
    target = to_tensor(np.asarray(original)[None])
    for name, picture in zip(sheet, pictures, strict=True):
        sheet[name].append(np.asarray(picture.resize((SIDE, SIDE))))
        scores[name].append(psnr(to_tensor(np.asarray(picture)[None]), target, true_mask).item())
rated = ("occluded", "trained above", "ships")
captions = [[f"{x:.1f} dB" if name in rated else None for x in scores[name]] for name in sheet]
labels = [name.replace(" ", "\n") for name in sheet]
present(picture_grid(list(sheet.values()), row_labels=labels, captions=captions), "10-shipped")
for name in rated:
    print(f"covered pixels, {name}: {np.mean(scores[name]):.1f} dB")

# %% [markdown]
# From here: `python deocclude.py photo.jpg` does the last step for your own photo,
# `python train_inpainting.py Reconstruction` and `python train_segmentation.py SOCLNET` train for
# real, `python evaluate.py`, `evaluate.py segmentation` and `evaluate.py end-to-end` compare every
# run there is.
