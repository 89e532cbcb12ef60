"""Where the features of an aligned face lie, and the similarity that takes a photo there."""

import numpy as np

Points = dict[str, tuple[float, float]]

LANDMARKS = ("left_eye", "right_eye", "nose_tip", "left_mouth", "right_mouth", "chin")

# (x, y) as fractions of the side; left is the picture's left. ffhq is also CelebA-HQ's.
TEMPLATES: dict[str, Points] = {
    "ffhq": {
        "left_eye": (96 / 256, 121 / 256),
        "right_eye": (160 / 256, 121 / 256),
        "nose_tip": (128 / 256, 162 / 256),
        "left_mouth": (99 / 256, 186 / 256),
        "right_mouth": (157 / 256, 186 / 256),
        "chin": (127 / 256, 236 / 256),
    },
    # Aligned CelebA, 178 x 218, cropped to its central square: medians of MediaPipe's landmarks.
    "celeba": {
        "left_eye": (0.389, 0.517),
        "right_eye": (0.612, 0.517),
        "nose_tip": (0.497, 0.665),
        "left_mouth": (0.406, 0.746),
        "right_mouth": (0.589, 0.746),
        "chin": (0.498, 0.914),
    },
    # UTKFace's aligned crops, the face fills the picture: medians over 160 pictures, as above.
    "utkface": {
        "left_eye": (0.303, 0.294),
        "right_eye": (0.692, 0.294),
        "nose_tip": (0.489, 0.546),
        "left_mouth": (0.327, 0.693),
        "right_mouth": (0.671, 0.689),
        "chin": (0.493, 0.987),
    },
}

CELEBA_ASPECT = 178 / 218
ASPECT_TOLERANCE = 0.02


def template_points(name: str, size: int) -> Points:
    """The template's landmarks in pixels of a picture `size` wide. ValueError lists the names."""
    if name not in TEMPLATES:
        raise ValueError(f"template {name!r}: unknown; valid: {', '.join(TEMPLATES)}")
    return {key: (x * size, y * size) for key, (x, y) in TEMPLATES[name].items()}


def guess_template(width: int, height: int) -> str:
    """The template of a data set by its images' size: CelebA's 178 x 218 or its like, else ffhq."""
    near = abs(width / height - CELEBA_ASPECT) <= ASPECT_TOLERANCE
    return "celeba" if near else "ffhq"


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, uniform scale and shift that take `source` nearest to `target`.

    Least squares without reflection (Umeyama 1991, eq. 40-43, in two dimensions).

    Args:
        source, target: (n, 2) points, n >= 2.

    Returns:
        (2, 3) float64, target = M @ (x, y, 1). ValueError for too few, coinciding, non-finite or
        differently shaped points.
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2 or len(source) < 2:
        raise ValueError(
            f"points: need two arrays (n, 2) with n >= 2, found {source.shape} and {target.shape}"
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ValueError("points: all must be finite numbers")
    middle, aim = source.mean(0), target.mean(0)
    a, b = source - middle, target - aim
    spread = (a**2).sum()
    # With points as complex numbers, the best factor is <a, b> / <a, a>.
    real = (a * b).sum()
    imaginary = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    scale = np.hypot(real, imaginary)
    if spread <= 1e-12 * max(1.0, (source**2).sum()) or scale <= 1e-12 * max(1.0, spread):
        raise ValueError(
            f"points: coincide or are mirrored, no similarity exists: {source.tolist()} to "
            f"{target.tolist()}"
        )
    linear = np.array([[real, -imaginary], [imaginary, real]]) / spread
    return np.column_stack([linear, aim - linear @ middle])


def invert(matrix: np.ndarray) -> np.ndarray:
    """The inverse of an affine map (2, 3), as (2, 3). ValueError when it has none."""
    matrix = np.asarray(matrix, dtype=np.float64)
    linear, shift = matrix[:, :2], matrix[:, 2]
    if abs(np.linalg.det(linear)) < 1e-12:
        raise ValueError(f"matrix: not invertible: {matrix.tolist()}")
    inverse = np.linalg.inv(linear)
    return np.column_stack([inverse, -inverse @ shift])
