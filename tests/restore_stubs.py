"""Networks, photos and faces of known geometry for the tests of restoring."""

import cv2
import numpy as np
import torch
from torch import nn

from deocclude.data.faces.alignment import invert, template_points
from deocclude.engines.inference.networks import Inpainter, Segmenter
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.face import Face

SIZE = 64
GREEN = (0, 255, 0)


class GreenFinder(nn.Module):
    """A segmenter that marks pure green; remembers what it was shown."""

    def forward(self, occluded):
        self.seen, self.was_training, self.grad = occluded, self.training, torch.is_grad_enabled()
        red, green, blue = occluded.unbind(1)
        return ((green - torch.maximum(red, blue)) * 40 - 20)[:, None]


class Flat(nn.Module):
    """An inpainter that answers one colour; remembers what it was shown."""

    def __init__(self, level=0.5):
        super().__init__()
        self.level = level

    def forward(self, occluded, mask):
        self.occluded, self.mask = occluded, mask
        return torch.full_like(occluded, self.level)


def make(
    inpainter=None,
    segmenter="green",
    segmenter_size=SIZE,
    segmenter_template="ffhq",
    hides=True,
    flip=False,
    **options,
):
    """A Deoccluder of these networks; `segmenter` None: without one."""
    if segmenter is not None:
        network = GreenFinder() if segmenter == "green" else segmenter
        segmenter = Segmenter(network, segmenter_size, template=segmenter_template)
    inpainter = Inpainter(inpainter or Flat(), SIZE, hides=hides, flip=flip)
    options.setdefault("detector", FaceDetector(kinds=("whole",)))
    return Deoccluder(inpainter, segmenter, **options)


def face_at(side, centre, degrees=0.0, template="ffhq"):
    """A face whose square has `side` photo pixels and lies around `centre`."""
    angle, scale = np.deg2rad(degrees), SIZE / side
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = invert(np.column_stack([linear, SIZE / 2 - linear @ np.array(centre, float)]))
    points = {
        name: tuple(back[:, :2] @ point + back[:, 2])
        for name, point in template_points(template, SIZE).items()
    }
    box = (centre[0] - side / 4, centre[1] - side / 4, side / 2, side / 2)
    return Face(box, points, "given")


def photo_with(*boxes, shape=(400, 500), level=90):
    photo = np.full((*shape, 3), level, np.uint8)
    for top, left, bottom, right in boxes:
        photo[top:bottom, left:right] = GREEN
    return photo


def mask_of(photo):
    return (photo == GREEN).all(-1).astype(np.uint8)


def grown(mask, radius):
    return (cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) <= radius).astype(np.uint8)


class Truth(nn.Module):
    """Answers the photo without its occluder, as `window` sees it."""

    def __init__(self, clean):
        super().__init__()
        self.clean = clean

    def forward(self, occluded, mask):
        return self.clean.expand(len(occluded), -1, -1, -1)
