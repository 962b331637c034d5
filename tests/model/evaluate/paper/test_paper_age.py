"""Age on LAP 2015 and FG-NET: by hand, against plain least squares, and with perfect, random and empty answers."""

import math

import numpy as np
import pytest

from model import boxes, landmarks
from model.evaluate.paper import fgnet, lap
from model.evaluate.run import Analyzed
from model.structures import Faces
from tests.model.evaluate.paper.samples import UNIT, sample


def with_age(name, age, found_age=None, sigma=math.nan, subject=None, descriptor=None):
    faces = Faces.empty()
    if found_age is not None:
        points = landmarks.CANONICAL[None] * 50
        vector = np.asarray(UNIT if descriptor is None else descriptor, np.float32)[None]
        faces = Faces(
            boxes.from_landmarks(points), np.ones(1), points, np.ones((1, 21)), np.zeros((1, 3)),
            np.zeros(1), np.zeros(1), np.array([float(found_age)]), vector,
        )  # fmt: skip
    return Analyzed(sample(name, age=age, age_sigma=sigma, subject=subject), faces, 60, 60)


class TestLap:
    def test_error_by_hand(self):
        error = lap.error(np.array([30.0, 33, 20]), np.array([30.0, 30, 30]), np.array([3.0, 3, 5]))
        assert error == pytest.approx([0, 1 - math.exp(-0.5), 1 - math.exp(-2)])
        with pytest.raises(ValueError, match="positive deviation"):
            lap.error(np.ones(1), np.ones(1), np.zeros(1))

    def test_figures(self):
        photos = [with_age("a", 30, 33, 3.0), with_age("b", 40, None, 5.0)]
        result = lap.score(photos, mean_age=30.0)
        assert result["error"] == pytest.approx((1 - math.exp(-0.5) + 1 - math.exp(-2)) / 2)
        assert (result["age_mae"], result["photos_without_face"]) == (6.5, 1)

    def test_perfect_random_empty(self):
        rng = np.random.default_rng(0)
        ages = rng.uniform(5, 80, 300)
        assert lap.score([with_age("a", a, a, 4.0) for a in ages], 35.0)["error"] == pytest.approx(0, abs=1e-9)
        random = lap.score([with_age("a", a, rng.uniform(0, 90), 4.0) for a in ages], 35.0)["error"]
        assert 0.8 < random < 1
        empty = lap.score([with_age("a", a, None, 4.0) for a in ages], 35.0)
        assert empty["photos_without_face"] == 300
        assert empty["error"] == pytest.approx(float(lap.error(np.full(300, 35.0), ages, np.full(300, 4.0)).mean()))


class TestFgnet:
    def people(self, guess, count=8, each=12):
        rng = np.random.default_rng(0)
        photos = []
        for person in range(count):
            for _ in range(each):
                age = float(rng.integers(0, 70))
                photos.append(with_age("a", age, guess(age, rng), subject=f"{person:03d}"))
        return photos

    def test_perfect(self):
        result = fgnet.score(self.people(lambda age, _: age))
        assert result["mae_plain"] == 0
        assert result["mae"] < 2.5  # the ridge shrinks a little
        assert result["people"] == 8

    def test_what_is_learnt_is_used(self):
        """A network 10 years and half the scale off: the other people tell."""
        result = fgnet.score(self.people(lambda age, _: age / 2 + 10))
        assert result["mae_plain"] > 9
        assert result["mae"] < 2.5

    def test_random_and_empty(self):
        spread = fgnet.score(self.people(lambda age, rng: rng.uniform(0, 70)))
        assert spread["mae"] == pytest.approx(17.5, abs=3)  # no better than the mean
        empty = fgnet.score(self.people(lambda age, rng: None))
        assert empty["photos_without_face"] == 96
        assert empty["mae"] == empty["mae_plain"] == pytest.approx(17.5, abs=3)
        with pytest.raises(ValueError, match="two people"):
            fgnet.score(self.people(lambda age, _: age, count=1))

    def test_nobody_is_learnt_from_their_own_photos(self):
        """The last person alone has a descriptor that tells the age: of no use, since nobody else has it."""
        photos = self.people(lambda age, _: 30.0)
        rng = np.random.default_rng(1)
        own = rng.normal(size=(40, 512))
        tell = [with_age("a", float(k), 30.0, subject="zzz", descriptor=own[0] * k) for k in range(40)]
        alone = fgnet.score([*photos, *tell]).tables[0]
        assert sum(count for _, count, _ in alone.rows) == 136
        ages = np.array([p.sample.age for p in (*photos, *tell)])
        people = np.array([p.sample.subject for p in (*photos, *tell)])
        features = np.array([p.faces.descriptor[0] for p in (*photos, *tell)])
        predicted = fgnet.leave_one_out(features, ages, people, np.ones(136, bool))
        assert np.std(predicted[people == "zzz"]) < 1e-6

    def test_against_plain_least_squares(self):
        rng = np.random.default_rng(3)
        features, ages = rng.normal(size=(30, 2)), rng.uniform(0, 60, 30)
        people = np.repeat(["a", "b", "c"], 10)
        predicted = fgnet.leave_one_out(features, ages, people, np.ones(30, bool))
        train = people != "b"
        x = (features - features[train].mean(0)) / features[train].std(0)
        stacked = np.vstack([x[train], math.sqrt(fgnet.RIDGE) * np.eye(2)])
        target = np.append(ages[train] - ages[train].mean(), [0, 0])
        weights = np.linalg.lstsq(stacked, target, rcond=None)[0]
        expected = np.maximum(ages[train].mean() + x[~train] @ weights, 0)
        assert predicted[~train] == pytest.approx(expected)
