"""DenseCRF: inference in a dense CRF, after the fact."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.errors import LayerError
from netspec.layers.base import Layer, Shape
from netspec.layers.permutohedral import Lattice, norm_of, places, smooth, with_colours
from netspec.lazytorch import torch


class DenseCRF(Layer):
    """Q = softmax(s), then max_iter times Q ← softmax(s + Σ_k w_k G_k Q); top = Q, or log max(Q, FLT_MIN).

    s are the scores. G_k filters with a Gaussian over all pixels, divided by what it makes of ones: of pos_xy_std in
    x and y, weighing pos_w; of bi_xy_std in x and y and bi_rgb_std in the colours, weighing bi_w. Each is given any
    number of times. Where the scores are larger than the image, as bottom 1 has it, its first rows and columns count,
    and the rest of the top is 0.
    Shapes: scores (N x C x H x W), sizes (N x 1 x 1 x 2: height and width of each image), and on demand the images
        (N x 3 x H x W) -> N x C x H x W.
    Errors: lists of different length; a deviation not above 0; bi_ settings without images, or images without them;
        bottoms that do not match; a gradient that would flow through.
    Source: DeepLab's DenseCRF (Krähenbühl and Koltun 2011), which has no backward. Cost: as MultiStageMeanfield.
    """

    settings = "dense_crf_param"
    bottoms = (2, 3)
    refuses = True

    def setup(self) -> None:
        p = self.p
        for names in (("pos_w", "pos_xy_std"), ("bi_w", "bi_xy_std", "bi_rgb_std")):
            if len({len(getattr(p, name)) for name in names}) > 1:
                raise self.fail(f"{', '.join(names)} must be given equally often", names[0])
        for name in ("pos_xy_std", "bi_xy_std", "bi_rgb_std"):
            if not all(value > 0 for value in getattr(p, name)):
                raise self.fail(f"{name} {list(getattr(p, name))} must be above 0", name)
        if bool(p.bi_w) != (len(self.proto.bottom) == 3):
            raise self.fail("bi_w and a third bottom, the images, go together", "bi_w")

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        scores, sizes = bottoms[:2]
        if len(scores) != 4:
            raise self.fail(f"bottom 0 {list(scores)} must have four axes: images, classes, height, width")
        if sizes != (scores[0], 1, 1, 2):
            raise self.fail(f"bottom 1 {list(sizes)} must be {[scores[0], 1, 1, 2]}: heights and widths")
        if len(bottoms) == 3 and bottoms[2] != (scores[0], 3, *scores[2:]):
            raise self.fail(f"bottom 2 {list(bottoms[2])} must be {[scores[0], 3, *scores[2:]]}: colour images")
        return [scores]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        scores = bottoms[0].detach()
        top = torch.zeros_like(scores)
        for n, size in enumerate(bottoms[1].detach().flatten(1).long().tolist()):
            h, w = self.used(size, scores.shape[2:])
            image = bottoms[2][n, :, :h, :w].detach() if len(bottoms) == 3 else None
            q = self.infer(scores[n, :, :h, :w], image)
            least = torch.finfo(torch.float32).tiny
            top[n, :, :h, :w] = q if self.p.output_probability else q.clamp(min=least).log()
        return [top]

    def used(self, size: Sequence[int], whole: Shape) -> Sequence[int]:
        """The size that counts: all of scores that are not larger than the image."""
        if size[0] >= whole[0] and size[1] >= whole[1]:
            return whole
        if not (0 < size[0] <= whole[0] and 0 < size[1] <= whole[1]):
            raise LayerError(f"an image of {size[0]} x {size[1]} does not fit scores of {whole[0]} x {whole[1]}")
        return size

    def infer(self, scores: torch.Tensor, image: torch.Tensor | None) -> torch.Tensor:
        """Q of one image, C x H x W."""
        kernels = [(w, Lattice(features)) for w, features in self.features(scores, image)]
        norms = [norm_of(lattice) for _, lattice in kernels]
        q = scores.softmax(0)
        for _ in range(self.p.max_iter):
            energy = scores.clone()
            for (weight, lattice), norm in zip(kernels, norms, strict=True):
                energy += weight * smooth(q, lattice, norm)
            q = energy.softmax(0)
        return q

    def features(self, scores: torch.Tensor, image: torch.Tensor | None) -> list[tuple[float, torch.Tensor]]:
        """The weight and the features of each kernel."""
        p, size = self.p, scores.shape[1:]
        out = [(w, places(size, std, scores.device)) for w, std in zip(p.pos_w, p.pos_xy_std, strict=True)]
        if image is not None:
            rows = zip(p.bi_w, p.bi_xy_std, p.bi_rgb_std, strict=True)
            out += [(w, with_colours(image, xy, rgb)) for w, xy, rgb in rows]
        return out

    def gradient_to(self, bottom: int) -> bool:
        return False
