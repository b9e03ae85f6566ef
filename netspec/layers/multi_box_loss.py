"""MultiBoxLoss: the loss of locations and confidences relative to prior boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netspec import schema
from netspec.layers.base import Shape
from netspec.layers.boxes import LEAST_AREA, area, array, decode, descending, encode, overlaps, suppress
from netspec.layers.losses import Loss, with_gradient_of
from netspec.layers.normalization import normalizer
from netspec.layers.priors import Truth, check_predictions, check_truth, example_truth, read_priors, read_truth
from netspec.layers.softmax_with_loss import LOG_FLT_MIN
from netspec.lazytorch import F, torch

FREE, IGNORED = -1, -2
"""What a prior box without a true box is matched to; ignored ones are neither right nor wrong."""
LEAST_OVERLAP = 1e-6


@dataclass
class Match:
    """One image's prior boxes for one location class (None: shared): the true box of each, and its greatest overlap."""

    label: int | None
    truth: np.ndarray
    overlap: np.ndarray


@dataclass
class Examples:
    """What counts in the loss: rows of image, location class, prior, true box; and of image, prior for negatives."""

    positive: np.ndarray
    negative: np.ndarray


class MultiBoxLoss(Loss):
    """loss = (loc_weight · Σ f(prediction − code of the true box) + Σ g(confidences)) / Z.

    The first sum is over the matched priors, the second over the examples. f is the smooth L1 norm (SMOOTH_L1) or half
    the square (L2) of four moves, g the softmax loss or the sigmoid cross entropy (LOGISTIC; of a prior without a true
    box, all targets are 0 unless it was mined). Z is as in SoftmaxWithLoss, VALID counting the matched
    priors; an older `normalize` is that of loss_param.
    Matching, per image: the two that overlap most are matched, and so on until all true boxes are; with PER_PREDICTION
    every other prior gets the true box it overlaps most, if by overlap_threshold. Unless use_prior_for_matching, the
    predicted boxes stand for the priors; with ignore_cross_boundary_bbox those that leave the image are left out.
    Mining: MAX_NEGATIVE takes the int(neg_pos_ratio · matched) unmatched priors of greatest loss among those that
    overlap true boxes by less than neg_overlap; HARD_EXAMPLE the sample_size priors of greatest loss, matched or not;
    with NONE all count. With nms_param, of examples that overlap only the worst counts. An image without true boxes
    gives no examples but with NONE. Where propagate_down is false for locations or confidences, that part is left out.
    Shapes: locations N x 4 · priors (· classes without share_location), confidences N x priors · classes, priors
        1 x 2 x 4 · priors, true boxes 1 x 1 x boxes x 8 -> a scalar.
    Errors: num_classes missing; SOFTMAX with the background outside the classes; mining without share_location;
        do_neg_mining that contradicts mining_type; map_object_to_agnostic with other classes than background and
        object; predictions of another number than the priors'; a true box of the background's or an unknown class.
    Source: SSD's MultiBoxLoss (Liu et al. 2016). Priors pass no gradient on.
    """

    settings = "multibox_loss_param"
    bottoms = (4, 4)

    def setup(self) -> None:
        p = self.p
        self.loc_loss, self.conf_loss, self.mining, self.code, self.match_type = (
            schema.enum_name(p, field)
            for field in ("loc_loss_type", "conf_loss_type", "mining_type", "code_type", "match_type")
        )
        if not p.num_classes:
            raise self.fail("num_classes is missing or 0", "num_classes")
        if self.conf_loss == "SOFTMAX" and not 0 <= p.background_label_id < p.num_classes:
            raise self.fail(
                f"background_label_id {p.background_label_id} is outside the {p.num_classes} classes",
                "background_label_id",
            )
        if self.mining != "NONE" and not p.share_location:
            raise self.fail(f"mining_type {self.mining} wants share_location: true", "mining_type")
        if p.HasField("do_neg_mining") and p.do_neg_mining != (self.mining != "NONE"):
            raise self.fail("do_neg_mining contradicts mining_type", "do_neg_mining")
        if self.mining == "HARD_EXAMPLE" and p.sample_size < 1:
            raise self.fail(f"sample_size {p.sample_size} must be at least 1", "sample_size")
        wanted = 2 if p.background_label_id >= 0 else 1
        if p.map_object_to_agnostic and p.num_classes != wanted:
            raise self.fail(f"map_object_to_agnostic wants {wanted} classes, not {p.num_classes}", "num_classes")
        self.loss_param = self.proto.loss_param
        if p.HasField("normalize") and not self.proto.HasField("loss_param"):
            self.loss_param = schema.new("LossParameter", normalize=p.normalize)
        given = list(self.proto.propagate_down)
        self.with_locations, self.with_confidences = (given[0], given[1]) if len(given) > 1 else (True, True)

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        check_predictions(self, bottoms, self.p.num_classes, self.p.share_location)
        check_truth(self, 3, bottoms[3])
        return [()]

    def forward(self, bottoms: list[torch.Tensor], params: list[torch.Tensor]) -> list[torch.Tensor]:
        prior, variance = read_priors(bottoms[2])
        truth = read_truth(bottoms[3], self.p.background_label_id, self.p.use_difficult_gt)
        classes = 1 if self.p.share_location else self.p.num_classes
        locations = bottoms[0].reshape(len(bottoms[0]), len(prior), classes, 4)
        confidences = bottoms[1].reshape(len(bottoms[1]), len(prior), self.p.num_classes)
        self.check_labels(truth)
        work = Work(self, prior, variance, truth, array(locations), array(confidences))
        found = work.examples()
        places = len(found.positive)
        divisor = normalizer(self.loss_param, len(locations), len(prior), places)
        total = locations.sum() * 0 + confidences.sum() * 0
        if self.with_locations and places:
            total = total + self.p.loc_weight * self.location_loss(locations, work, found.positive)
        if self.with_confidences:
            total = total + self.confidence_loss(confidences, work, found)
        return [total / divisor]

    def check_labels(self, truth: dict[int, Truth]) -> None:
        for one in truth.values():
            for label in one.labels if not self.p.map_object_to_agnostic else ():
                if not 0 <= label < self.p.num_classes:
                    raise self.fail(
                        f"a true box has label {label}, outside the {self.p.num_classes} classes", "num_classes"
                    )

    def location_loss(self, locations: torch.Tensor, work: Work, positive: np.ndarray) -> torch.Tensor:
        """Σ f over the matched priors' four moves."""
        image, label, prior, _ = positive.T
        wanted = torch.from_numpy(work.codes(positive)).to(locations)
        moves = locations[image, prior, label]
        if self.p.bp_inside:
            outside = torch.from_numpy(work.outside(positive)).to(locations.device)
            moves = torch.where(outside, wanted, moves)
        difference = moves - wanted
        if self.p.encode_variance_in_target:
            difference = difference / torch.from_numpy(work.variance[prior]).to(locations)
        if self.loc_loss == "L2":
            return difference.square().sum() / 2
        return F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="sum")

    def confidence_loss(self, confidences: torch.Tensor, work: Work, found: Examples) -> torch.Tensor:
        """Σ g over the examples, or over all priors without mining."""
        target = np.full(confidences.shape[:2], self.p.background_label_id)
        image, _, prior, box = found.positive.T
        target[image, prior] = [work.label(i, b) for i, b in zip(image, box, strict=True)]
        if self.mining == "NONE":
            scores, labels = confidences.flatten(0, 1), target.ravel()
            positives = np.zeros(target.shape, bool)
            positives[image, prior] = True
            marked = positives.ravel()
        else:
            rows = np.concatenate([found.positive[:, [0, 2]], found.negative])
            scores, labels = confidences[rows[:, 0], rows[:, 1]], target[rows[:, 0], rows[:, 1]]
            marked = (labels >= 0) & (labels < self.p.num_classes)
        index = torch.from_numpy(labels).to(scores.device)
        if self.conf_loss == "SOFTMAX":
            picked = F.log_softmax(scores, 1).gather(1, index[:, None])
            return with_gradient_of(-picked.clamp(min=LOG_FLT_MIN).sum(), -picked.sum())
        wanted = torch.zeros_like(scores)
        chosen = torch.from_numpy(np.flatnonzero(marked)).to(scores.device)
        wanted[chosen, index[chosen]] = 1
        return F.binary_cross_entropy_with_logits(scores, wanted, reduction="sum")

    def plausible(self, bottom: int, shape: Shape) -> np.ndarray | None:
        """Boxes of a class that is not the background in the first image."""
        return example_truth(shape, 0 if self.p.background_label_id else 1) if bottom == 3 else None

    def gradient_to(self, bottom: int) -> bool:
        """Priors are no label: that a learned layer made their sizes is no mistake. They just pass none on."""
        return bottom < 3


class Work:
    """The choice of examples for one batch, outside of what is differentiated."""

    def __init__(
        self,
        layer: MultiBoxLoss,
        prior: np.ndarray,
        variance: np.ndarray,
        truth: dict[int, Truth],
        locations: np.ndarray,
        confidences: np.ndarray,
    ) -> None:
        self.layer, self.p = layer, layer.p
        self.prior, self.variance, self.truth = prior, variance, truth
        self.locations, self.confidences = locations, confidences

    def label(self, image: int, box: int) -> int:
        """A true box's class as the confidences count it."""
        if self.p.map_object_to_agnostic:
            return self.p.background_label_id + 1
        return int(self.truth[image].labels[box])

    def examples(self) -> Examples:
        positive, negative = [], []
        for image in range(len(self.locations)):
            if image not in self.truth:
                continue
            for match in self.matches(image):
                if self.layer.mining != "NONE":
                    hard = self.mine(image, match)
                    negative += [(image, prior) for prior in hard]
                priors = np.flatnonzero(match.truth > FREE)
                positive += [(image, match.label or 0, prior, match.truth[prior]) for prior in priors]
        return Examples(np.array(positive, np.int64).reshape(-1, 4), np.array(negative, np.int64).reshape(-1, 2))

    def matches(self, image: int) -> list[Match]:
        """One match with shared locations, else one per class but the background."""
        p, truth = self.p, self.truth[image]
        all_boxes = np.arange(len(truth.boxes))
        if p.share_location:
            boxes = self.prior if p.use_prior_for_matching else self.predicted(image, 0)
            return [self.match(None, boxes, truth, all_boxes)]
        labels = [c for c in range(p.num_classes) if c != p.background_label_id]
        if not p.use_prior_for_matching:
            return [self.match(c, self.predicted(image, c), truth, all_boxes[truth.labels == c]) for c in labels]
        common = self.match(None, self.prior, truth, all_boxes)
        own = np.where(common.truth > FREE, truth.labels[common.truth.clip(0)], FREE)
        return [Match(c, np.where(own == c, common.truth, FREE), common.overlap) for c in labels]

    def predicted(self, image: int, label: int) -> np.ndarray:
        moves = self.locations[image, :, label]
        scaled = moves if self.p.encode_variance_in_target else moves * self.variance
        return decode(self.layer.code, self.prior, scaled)

    def match(self, label: int | None, boxes: np.ndarray, truth: Truth, choice: np.ndarray) -> Match:
        """Matches boxes to those true boxes whose indices are in `choice`."""
        matched = np.full(len(boxes), FREE)
        if not len(choice):
            return Match(label, matched, np.zeros(len(boxes)))
        shared = overlaps(boxes, truth.boxes[choice])
        shared[shared <= LEAST_OVERLAP] = 0
        if self.p.ignore_cross_boundary_bbox:
            outside = ((boxes < 0) | (boxes > 1)).any(1)
            matched[outside], shared[outside] = IGNORED, 0
        best = shared.max(1)
        left = np.where(matched[:, None] == FREE, shared, 0)
        while left.max() > 0:
            prior, box = np.unravel_index(left.argmax(), left.shape)
            matched[prior] = choice[box]
            left[prior], left[:, box] = 0, 0
        if self.layer.match_type == "PER_PREDICTION":
            also = (matched == FREE) & (best >= self.p.overlap_threshold) & (best > 0)
            matched[also] = choice[shared[also].argmax(1)]
        return Match(label, matched, best)

    def mine(self, image: int, match: Match) -> np.ndarray:
        """The hard negatives, in order; matched priors that are not hard lose their true box (HARD_EXAMPLE)."""
        p, hard = self.p, self.layer.mining == "HARD_EXAMPLE"
        able = np.ones(len(match.truth), bool) if hard else (match.truth == FREE) & (match.overlap < p.neg_overlap)
        candidates = np.flatnonzero(able)
        loss = self.losses(image, match)[candidates]
        positives = int((match.truth > FREE).sum())
        wanted = p.sample_size if hard else int(np.float32(positives) * np.float32(p.neg_pos_ratio))
        order = descending(loss)
        if p.HasField("nms_param") and p.nms_param.nms_threshold > 0:
            order = self.apart(image, candidates, order)
        chosen = np.zeros(len(match.truth), bool)
        chosen[candidates[order[:wanted]]] = True
        if hard:
            match.truth[(match.truth > FREE) & ~chosen] = IGNORED
        return np.flatnonzero(chosen & (match.truth == FREE))

    def apart(self, image: int, candidates: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Of candidates in order, those that do not overlap one before."""
        nms = self.p.nms_param
        boxes = self.prior if self.p.use_prior_for_nms else self.predicted(image, 0)
        if nms.HasField("top_k") and nms.top_k > -1:
            order = order[: nms.top_k]
        own = boxes[candidates[order]]
        sound = area(own) >= LEAST_AREA
        return order[sound][suppress(own[sound], nms.nms_threshold)]

    def losses(self, image: int, match: Match) -> np.ndarray:
        """Each prior's loss of confidence, and with HARD_EXAMPLE of location."""
        scores = torch.from_numpy(self.confidences[image])
        matched = match.truth > FREE
        labels = np.full(len(match.truth), self.p.background_label_id)
        labels[matched] = [self.label(image, box) for box in match.truth[matched]]
        index = torch.from_numpy(labels)
        if self.layer.conf_loss == "SOFTMAX":
            loss = -F.log_softmax(scores, 1).gather(1, index[:, None])[:, 0].clamp(min=LOG_FLT_MIN)
        else:
            wanted = (index[:, None] == torch.arange(scores.shape[1])).to(scores.dtype)
            loss = F.binary_cross_entropy_with_logits(scores, wanted, reduction="none").sum(1)
        out = loss.numpy().copy()
        if self.layer.mining == "HARD_EXAMPLE" and matched.any():
            priors = np.flatnonzero(matched)
            rows = np.stack([np.full(len(priors), image), 0 * priors, priors, match.truth[priors]], 1)
            moves = torch.from_numpy(self.locations)
            out[priors] += [float(self.layer.location_loss(moves, self, row[None])) for row in rows]
        return out

    def codes(self, positive: np.ndarray) -> np.ndarray:
        """What the locations of matched priors should be."""
        image, _, prior, box = positive.T
        boxes = np.array([self.truth[i].boxes[b] for i, b in zip(image, box, strict=True)])
        moves = encode(self.layer.code, self.prior[prior], boxes)
        return moves if self.p.encode_variance_in_target else moves / self.variance[prior]

    def outside(self, positive: np.ndarray) -> np.ndarray:
        """Which coordinates of the matched boxes lie outside of the image."""
        image, label, prior, _ = positive.T
        boxes = self.prior[prior]
        if not self.p.use_prior_for_matching:
            moves = self.locations[image, prior, label]
            scaled = moves if self.p.encode_variance_in_target else moves * self.variance[prior]
            boxes = decode(self.layer.code, boxes, scaled)
        return (boxes < 0) | (boxes > 1)
