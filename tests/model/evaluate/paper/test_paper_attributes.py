"""Gender and smile on CelebA and Faces of the World: by hand, and with perfect, random and empty answers."""

import math

import numpy as np
import pytest
import torch

from model import geometry, landmarks
from model.evaluate import attributes, celeba_attributes, regions
from model.evaluate.paper import fotw
from tests.model.evaluate.paper.samples import answer, sample


class TestAttributes:
    @pytest.mark.parametrize("score", [celeba_attributes.score, fotw.score])
    def test_by_hand(self, score):
        faces = [
            sample(f"{i}.jpg", female=f, smile=s) for i, (f, s) in enumerate([(1, 1), (0, 1), (1, 0), (math.nan, 0)])
        ]
        answers = [answer(female=0.6, smile=0.4), answer(female=0.4, smile=0.9, proposals=9), None, answer(smile=0.1)]
        result = score(answers, faces)
        assert result["gender_accuracy"] == pytest.approx(200 / 3)  # right, right, no answer; the fourth has no label
        assert result["smile_accuracy"] == 50
        assert (result["gender_faces"], result["smile_faces"], result["faces_without_proposal"]) == (3, 4, 1)
        assert result["proposals_median"] == 3
        assert result.photos == 4

    def test_perfect_random_empty(self):
        rng = np.random.default_rng(0)
        faces = [sample(female=float(f), smile=float(s)) for f, s in rng.integers(0, 2, (400, 2))]
        perfect = attributes.score("x", [answer(female=f.female, smile=f.smile) for f in faces], faces)
        assert (perfect["gender_accuracy"], perfect["smile_accuracy"]) == (100, 100)
        random = attributes.score("x", [answer(female=rng.random(), smile=rng.random()) for _ in faces], faces)
        assert random["gender_accuracy"] == pytest.approx(50, abs=8)
        assert random["smile_accuracy"] == pytest.approx(50, abs=8)
        empty = attributes.score("x", [None] * 400, faces)
        assert (empty["gender_accuracy"], empty["smile_accuracy"]) == (0, 0)
        assert math.isnan(empty["proposals_median"])

    def test_nothing_labelled(self):
        with pytest.raises(ValueError, match="x: no face has a label"):
            attributes.score("x", [None], [sample()])

    def test_a_box_from_five_points(self):
        points = np.full((21, 2), np.nan, np.float32)
        five = list(landmarks.MTFL)
        points[five] = (landmarks.CANONICAL * 80 + 30)[five]
        expected = geometry.box_from_landmarks(torch.from_numpy(landmarks.CANONICAL * 80 + 30)[None])[0]
        assert regions.canonical_box(points) == pytest.approx(expected.numpy(), abs=1e-3)
        with pytest.raises(ValueError, match="two points"):
            regions.canonical_box(np.full((21, 2), np.nan))
