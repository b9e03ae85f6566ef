"""Segmentation scores of a test net that runs over its own data."""

import numpy as np


def histogram(truth, guess, classes):
    """classes x classes pixel counts, truth by guess; other numbers in the truth do not count."""
    counted = (truth >= 0) & (truth < classes)
    pairs = classes * truth[counted].astype(int) + guess[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def run(net, images, score="score", label="label"):
    """The histogram of so many forward passes, and the mean loss."""
    counts, loss = 0, 0.0
    for _ in range(images):
        net.forward()
        scores = net.blobs[score].data
        counts = counts + histogram(net.blobs[label].data[0, 0], scores[0].argmax(0), scores.shape[1])
        loss += float(net.blobs["loss"].data)
    return counts, loss / images


def scores(counts):
    """Pixel accuracy, mean accuracy, mean IU, frequency weighted IU."""
    hit, truth, guess = np.diag(counts), counts.sum(1), counts.sum(0)
    there = truth > 0
    union = truth + guess - hit
    iu = hit[union > 0] / union[union > 0]
    return {
        "pixel accuracy": hit.sum() / counts.sum(),
        "mean accuracy": (hit[there] / truth[there]).mean(),
        "mean IU": iu.mean(),
        "f.w. IU": (truth[there] * (hit[there] / union[there])).sum() / counts.sum(),
    }


def test(solver, images, score="score", label="label"):
    """Scores the solver's first test net with the weights of now, and prints them."""
    net = solver.test_nets[0]
    net.share_with(solver.net)
    counts, loss = run(net, images, score, label)
    found = scores(counts)
    words = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    print(f"iteration {solver.iter}: loss {loss:.4f}, {words}", flush=True)
    return found
