"""Average precision on AFW and PASCAL faces: by hand, against a slow oracle, and perfect, random and empty."""

import numpy as np
import pytest

from model.evaluate import marked, metrics
from model.evaluate.paper import afw, pascal
from tests.model.evaluate.paper.samples import BOX, face, found, photo


class TestAveragePrecision:
    def test_verdicts_by_hand(self):
        truth = photo([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], difficult=[2])
        boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 5], [21, 0, 30, 5], [40, 0, 50, 10], [60, 0, 70, 10]]
        verdicts = marked.match(found(boxes, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), truth)
        # right, second on the same face, right at exactly 0.5, too little, difficult, beside all
        assert verdicts.tolist() == [1, 0, 1, 0, metrics.IGNORED, 0]

    def test_the_better_score_takes_the_face(self):
        verdicts = marked.match(found([[0, 0, 10, 9], [0, 0, 10, 10]], [0.9, 0.5]), photo([[0, 0, 10, 10]]))
        assert verdicts.tolist() == [1, 0]

    def test_figure_by_hand(self):
        """Ranked right, wrong, right over 3 faces: AP = 1/3 · 1 + 1/3 · 2/3."""
        photos = [photo([[0, 0, 10, 10]]), photo([[0, 0, 10, 10], [20, 0, 30, 10]])]
        detections = [found([[0, 0, 10, 10], [50, 0, 60, 10]], [0.9, 0.8]), found([[0, 0, 10, 10]], [0.7])]
        result = pascal.score(detections, photos)
        assert result["ap"] == pytest.approx(100 * (1 / 3 + 2 / 9))
        assert result["recall"] == pytest.approx(200 / 3)
        assert (result["marked_faces"], result.photos) == (3, 2)

    def test_against_a_slow_oracle(self):
        rng = np.random.default_rng(4)
        for _ in range(20):
            photos, detections = [], []
            for _ in range(4):
                corners = rng.integers(0, 60, (rng.integers(1, 4), 2))
                boxes = np.hstack([corners, corners + rng.integers(8, 20, corners.shape)])
                photos.append(photo(boxes, difficult=[0] if rng.random() < 0.3 and len(boxes) > 1 else []))
                guesses = np.vstack(
                    [boxes + rng.integers(-3, 4, boxes.shape), rng.integers(0, 60, (2, 4)) + np.array([0, 0, 9, 9])]
                )
                detections.append(found(guesses, rng.permutation(20)[: len(guesses)] / 20 + rng.random() / 100))
            assert pascal.score(detections, photos)["ap"] == pytest.approx(
                100 * oracle_ap(detections, photos), abs=1e-9
            )

    @pytest.mark.parametrize("score", [pascal.score, lambda f, p: afw.score(f, p, [None], [face()])])
    def test_perfect_and_empty(self, score):
        photos = [photo([BOX]), photo([BOX, BOX + 60])]
        perfect = score([found(p.boxes, np.full(len(p.boxes), 0.9)) for p in photos], photos)
        assert (perfect["ap"], perfect["recall"]) == (100, 100)
        empty = score([found([], [])] * 2, photos)
        assert (empty["ap"], empty["recall"]) == (0, 0)

    def test_random(self):
        rng = np.random.default_rng(0)
        photos = [photo([np.append(c := rng.uniform(0, 200, 2), c + 20)]) for _ in range(200)]
        detections = [found([np.append(c := rng.uniform(0, 200, 2), c + 20)], [rng.random()]) for _ in range(200)]
        assert pascal.score(detections, photos)["ap"] < 2

    def test_no_face_counts(self):
        with pytest.raises(ValueError, match="at least one marked face"):
            pascal.score([found([], [])], [photo([BOX], difficult=[0])])


def oracle_ap(detections, photos):
    """One number at a time: rank, walk, take the envelope."""
    ranked = sorted(
        ((float(s), i, k) for i, (_, scores) in enumerate(detections) for k, s in enumerate(scores)), reverse=True
    )
    taken, right, wrong, curve = set(), 0, 0, []
    total = sum(int(not d) for p in photos for d in p.difficult)
    for _, i, k in ranked:
        overlaps = [one_iou(detections[i][0][k], box) for box in photos[i].boxes]
        best = max(range(len(overlaps)), key=lambda j: overlaps[j])
        if overlaps[best] >= 0.5 and photos[i].difficult[best]:
            continue
        if overlaps[best] >= 0.5 and (i, best) not in taken:
            taken.add((i, best))
            right += 1
        else:
            wrong += 1
        curve.append((right / total, right / (right + wrong)))
    area, before = 0.0, 0.0
    for index, (recall, _) in enumerate(curve):
        area += (recall - before) * max(precision for _, precision in curve[index:])
        before = recall
    return area


def one_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(width, 0) * max(height, 0)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)
