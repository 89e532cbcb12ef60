"""Stand-ins for detectors and networks, and pictures on which their answers are known."""

from fractions import Fraction

import av
import cv2
import numpy as np
import torch
from torch import nn

from deocclude.data.builtin.faces import landmarks, render_face
from deocclude.engines.inference.networks import Inpainter, Segmenter
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.detection import KINDS
from deocclude.engines.photos.face import Face, FaceChoice, whole_picture
from deocclude.engines.runs.metadata import WEIGHTS_VERSION
from deocclude.engines.runs.weights import save_release

GREEN = (0, 255, 0)  # the colour of every occluder here


class Constant(nn.Module):
    """An inpainter that answers one grey level."""

    def __init__(self, level: float = 0.5):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))

    def forward(self, occluded, mask, features=None):
        return self.level + torch.zeros_like(occluded)


class GreenFinder(nn.Module):
    """A segmenter that marks pixels of pure green."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(40.0))

    def forward(self, occluded):
        red, green, blue = occluded.split(1, dim=1)
        return self.gain * (green - red - blue - 0.5)


class Detector:
    """Answers with what it was made with: faces, or a function of the picture; none is the whole
    picture, as with `--whole`, unless that is not among `kinds`."""

    choice = FaceChoice()

    def __init__(self, faces=(), kinds=KINDS):
        self.faces, self.kinds, self.asked = faces, kinds, 0

    def detect(self, image):
        self.asked += 1
        faces = self.faces(image) if callable(self.faces) else list(self.faces)
        if faces:
            return faces, []
        if "whole" not in self.kinds:
            return [], ["no face found"]
        return [whole_picture(image.shape[:2])], ["no face found: the whole picture"]

    def anew(self):
        return type(self)(self.faces, self.kinds)

    def close(self):
        pass


def face_at(left: float, top: float, side: float, index: int = 0) -> Face:
    """The built-in face `index`, drawn at this place."""
    points = {
        name: (left + x * side / 256, top + y * side / 256)
        for name, (x, y) in landmarks(index).items()
    }
    return Face((left + side / 5, top + side / 5, side * 0.6, side * 0.7), points, "mediapipe")


def draw_photo(shape: tuple[int, int], *faces: Face, covered: bool = True) -> np.ndarray:
    """uint8 (H, W, 3): a grey gradient with a built-in face for each of `faces`, its nose and mouth
    under a green bar."""
    height, width = shape
    ramp = np.linspace(90, 170, width).astype(np.uint8)
    photo = np.broadcast_to(ramp[None, :, None], (height, width, 3)).copy()
    for face in faces:
        side = round(face.box[2] / 0.6)
        left, top = round(face.box[0] - side / 5), round(face.box[1] - side / 5)
        picture = cv2.resize(render_face(0, 256), (side, side), interpolation=cv2.INTER_AREA)
        if covered:
            picture[
                round(side * 0.6) : round(side * 0.8), round(side * 0.3) : round(side * 0.7)
            ] = GREEN
        photo[top : top + side, left : left + side] = picture
    return photo


def is_green(picture: np.ndarray) -> np.ndarray:
    """Where a picture shows the occluder, a lossy codec's traces allowed: bool (H, W)."""
    red, green, blue = (picture[..., c].astype(int) for c in range(3))
    return green - np.maximum(red, blue) > 100


def stub_deoccluder(
    detector=None,
    size=64,
    level=0.5,
    inpainter=None,
    segmenter="green",
    segmenter_size=None,
    segmenter_template="ffhq",
    **options,
) -> Deoccluder:
    """One of these two networks, by default `Constant` and `GreenFinder`."""
    inpainter = Inpainter(inpainter or Constant(level), size)
    if segmenter is not None:
        network = GreenFinder() if segmenter == "green" else segmenter
        segmenter = Segmenter(network, segmenter_size or size, template=segmenter_template)
    return Deoccluder(inpainter, segmenter, detector or Detector(), **options)


def write_release(path, task: str, name: str, network: nn.Module, **data) -> None:
    """A weights file as a finished run of this task leaves it, in a folder that says it finished.

    `name` must be in the registry of models when the file is read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_weights(path, task, name, network, **data)
    (path.parent / "config.yaml").write_text(f"task: {task}\n")
    (path.parent / "finished.json").write_text("{}")


def write_weights(path, task: str, name: str, network: nn.Module, **data) -> None:
    """As `write_release`, the file alone."""
    known = {"size": 64, "fill": 1.0} | data
    config = {"name": name, "task": task, "model": {"name": name}, "data": known}
    metadata = {"config": config, "contract": {}, "metrics": {}}
    save_release(path, network, metadata | {"release": {"version": WEIGHTS_VERSION}})


def write_video(path, frames, rate=10.0, codec="mpeg4") -> None:
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options={"q": "2"})
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.qmin, stream.codec_context.qmax = 1, 3
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        container.mux(stream.encode(None))


def read_video(path) -> tuple[list[np.ndarray], float]:
    """Frames as uint8 RGB, and frames a second."""
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate)
        decoded = container.decode(video=0)
        return [frame.reformat(format="rgb24").to_ndarray() for frame in decoded], rate


def call(main, capsys, *arguments) -> tuple[int, str]:
    """The exit code of a command and everything it printed."""
    code, message = 0, ""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code, message = (1, stop.code) if isinstance(stop.code, str) else (stop.code, "")
    captured = capsys.readouterr()
    return code, captured.out + captured.err + message
