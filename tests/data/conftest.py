"""Fixtures: a small data set in each of the published layouts."""

import numpy as np
import pytest
from layouts import SCENES, made, save_image, save_label, save_list, save_mat


@pytest.fixture
def rng():
    return np.random.RandomState(0)


@pytest.fixture
def voc_dir(tmp_path, rng):
    root = tmp_path / "pascal" / "VOC2011"
    for name, (image, label) in made(rng, 0, 21).items():
        label[0, 0] = 255
        save_image(root / "JPEGImages" / f"{name}.jpg", image, quality=95)
        save_label(root / "SegmentationClass" / f"{name}.png", label)
    for split in ("train", "val"):
        save_list(root / "ImageSets" / "Segmentation" / f"{split}.txt")
    return root


@pytest.fixture
def sbdd_dir(tmp_path, rng):
    root = tmp_path / "sbdd"
    for name, (image, label) in made(rng, 0, 21).items():
        save_image(root / "img" / f"{name}.jpg", image)
        save_mat(root / "cls" / f"{name}.mat", GTcls={"Segmentation": label.astype(np.uint8), "Boundaries": 0})
    save_list(root / "train.txt")
    return root


@pytest.fixture
def nyud_dir(tmp_path, rng):
    root = tmp_path / "nyud"
    for name, (image, label) in made(rng, 0, 41).items():
        save_image(root / "data" / "images" / f"img_{name}.png", image)
        save_image(root / "data" / "hha" / f"img_{name}.png", image[:, :, ::-1].copy())
        save_image(root / "data" / "depth" / f"img_{name}.png", (1500 + label).astype(np.uint16))
        save_mat(root / "segmentation" / f"img_{name}.mat", segmentation=label.astype(np.uint8))
    save_list(root / "test.txt")
    return root


@pytest.fixture
def siftflow_dir(tmp_path, rng):
    root = tmp_path / "sift-flow"
    for name, (image, label) in made(rng, 0, 34).items():
        geometric = np.where(label % 5 == 4, -1, label % 4).astype(np.int16)
        save_image(root / "Images" / SCENES / f"{name}.jpg", image)
        save_mat(root / "SemanticLabels" / SCENES / f"{name}.mat", S=label.astype(np.uint8))
        save_mat(root / "GeoLabels" / SCENES / f"{name}.mat", S=geometric)
    save_list(root / "test.txt")
    return root


@pytest.fixture
def context_dirs(tmp_path, rng):
    """(voc_dir, context_dir), the second with six names of files' classes of which four are among the 59."""
    voc, context = tmp_path / "pascal", tmp_path / "pascal-context"
    for name, (image, label) in made(rng, 0, 7).items():
        save_image(voc / "VOC2010" / "JPEGImages" / f"{name}.jpg", image)
        save_mat(context / "trainval" / f"{name}.mat", LabelMap=label.astype(np.uint16))
    save_list(voc / "VOC2010" / "ImageSets" / "Main" / "val.txt")
    (context / "labels.txt").write_text("1: accordion\n2: table\n3: potted plant\n4: bedclothes\n5: cloth\n6: wool\n")
    (context / "59_labels.txt").write_text("1: diningtable\n2: pottedplant\n28: clothes\n52: bedcloth\n")
    return voc, context
