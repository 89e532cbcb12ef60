"""Masks and photographs of known content for the tests of mask files."""

import cv2
import numpy as np

from deocclude.data.builtin.faces import render_face
from deocclude.data.masks.shapes import generate_mask
from deocclude.data.seeding import keyed_rng


def blob(size=256, seed=0):
    """A drawn mask, uint8 {0, 1}."""
    return generate_mask((size, size), 2, False, keyed_rng("mask files", seed))


def photograph(size=256, index=0):
    """A drawn face under the grain and light of a photograph, uint8 (S, S, 3)."""
    rng = keyed_rng("photographs", index)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (size, size)).astype(np.float32), (0, 0), 2)
    light = np.linspace(-30, 30, size)[:, None] + 160 * grain
    return np.clip(render_face(index, size) + light[..., None], 0, 255).astype(np.uint8)
