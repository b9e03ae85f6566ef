"""Small data sets in the published layouts."""

import numpy as np
from PIL import Image
from scipy.io import savemat

SIZES = {"a1": (9, 7), "b2": (6, 8), "c3": (5, 5)}  # id: (width, height)
SCENES = "spatial_envelope_256x256_static_8outdoorcategories"


def save_image(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def save_label(path, label):
    image = Image.fromarray(label.astype(np.uint8))
    image.putpalette(list(range(256)) * 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def save_mat(path, **variables):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, variables)


def save_list(path, ids=tuple(SIZES)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in ids))


def made(rng, low, high):
    """id -> (RGB image, label with values low..high-1)."""
    return {
        name: (rng.randint(0, 256, (h, w, 3)).astype(np.uint8), rng.randint(low, high, (h, w)))
        for name, (w, h) in SIZES.items()
    }
