"""IJB-A: ranks and alarms by hand and against a slow oracle, splits with perfect, random and no descriptors."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from model.datasets.readers.ijba import Identification, TemplateFaces, Verification
from model.evaluate import templates_at
from model.evaluate.paper import ijba
from model.identity import triplets
from tests.model.evaluate.paper.samples import BOX, sample


class TestTemplatesAt:
    GALLERY = np.array([1, 2, 3])

    def test_ranks_by_hand(self):
        scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.3], [0.7, 0.8, 0.6], [0.1, 0.1, 0.1]])
        probes = np.array([1, 2, 3, 9])  # ranks 1, 2, 3; 9 is a stranger and does not count
        assert templates_at.rank_rates(scores, probes, self.GALLERY, (1, 2, 3)) == pytest.approx([1 / 3, 2 / 3, 1])

    def test_an_equal_score_of_another_ranks_before(self):
        assert templates_at.rank_rates(np.array([[0.5, 0.5, 0.1]]), np.array([1]), self.GALLERY, (1, 2)).tolist() == [
            0,
            1,
        ]

    def test_a_person_with_two_templates_counts_once(self):
        scores = np.array([[0.6, 0.9, 0.8, 0.7]])
        assert templates_at.rank_rates(scores, np.array([1]), np.array([1, 2, 2, 1]), (1, 2)).tolist() == [0, 1]

    def test_open_set_by_hand(self):
        """Four strangers with alarms .8 .6 .4 .2: at FPIR 1/4 the threshold lies above .6."""
        strangers = [[0.8, 0, 0], [0, 0.6, 0], [0.4, 0, 0], [0, 0, 0.2]]
        mates = [[0.9, 0, 0], [0, 0.7, 0], [0, 0, 0.5], [0.61, 0.9, 0]]
        probes = np.array([9, 8, 7, 6, 1, 2, 3, 1])
        rates = templates_at.tpir_at_fpir(np.array(strangers + mates), probes, self.GALLERY, (0, 0.25, 0.5, 1))
        assert rates == pytest.approx([0.25, 0.75, 1, 1])

    def test_candidates_are_limited(self):
        gallery = np.arange(30)
        scores = np.vstack([np.linspace(1, 0.5, 30), np.zeros(30)])
        for person, rate in ((19, 1.0), (20, 0.0)):
            assert templates_at.tpir_at_fpir(scores, np.array([person, 99]), gallery, (0,)).tolist() == [rate]

    def test_against_a_slow_oracle(self):
        rng = np.random.default_rng(0)
        for _ in range(10):
            scores = rng.integers(0, 8, (12, 5)) / 8
            probes, gallery = rng.integers(0, 8, 12), np.arange(5)
            if np.isin(probes, gallery).all() or not np.isin(probes, gallery).any():
                continue
            for limit in (0.1, 0.3):
                strangers = [row.max() for row, p in zip(scores, probes, strict=True) if p >= 5]
                allowed = [t for t in np.linspace(-0.0625, 1.0625, 19) if np.mean([s >= t for s in strangers]) <= limit]
                own = [row[p] for row, p in zip(scores, probes, strict=True) if p < 5]
                expected = np.mean([s >= min(allowed) for s in own])
                assert templates_at.tpir_at_fpir(scores, probes, gallery, (limit,)) == pytest.approx([expected])

    def test_what_cannot_be_measured(self):
        with pytest.raises(ValueError, match="closed-set"):
            templates_at.rank_rates(np.zeros((1, 3)), np.array([9]), self.GALLERY, (1,))
        for probes in ([1], [9]):
            with pytest.raises(ValueError, match="open-set"):
                templates_at.tpir_at_fpir(np.zeros((1, 3)), np.array(probes), self.GALLERY, (0.1,))


def ijba_world(people=40, frames=3):
    """A split: a third to learn from, a third in the gallery, a third strangers; a template is a still and frames."""
    numbers = itertools.count(1)

    def template(person):
        number = next(numbers)
        faces = [
            sample(f"{number}/{k}", subject=str(person), box=BOX, group=f"{number}-{min(k, 1)}") for k in range(frames)
        ]
        return TemplateFaces(number, str(person), tuple(faces))

    learnt, known, strangers = (range(k, people, 3) for k in range(3))
    train = [template(p) for p in learnt for _ in range(2)]
    compared = {p: [template(p) for _ in range(2)] for p in (*known, *strangers)}
    pairs = [(a[0].number, b[1].number) for a in compared.values() for b in compared.values()]
    one = Verification(train, [t for pair in compared.values() for t in pair], pairs)
    many = Identification(train, [compared[p][0] for p in known], [pair[1] for pair in compared.values()])
    return ijba.Split(1, one, many)


def describe(split, vector):
    return {face.name: vector(face) for face in ijba._faces(split)}


FAST = triplets.Config(dimension=16, steps=30, batch=32)


class TestIjba:
    def test_perfect(self):
        split = ijba_world()
        result = ijba.score([split], describe(split, lambda face: np.eye(64)[int(face.subject)]), FAST)
        assert all(result[name] == 100 for name in ijba.NAMES)
        assert result["rank_1_std"] == 0
        assert result["faces_without_descriptor"] == 0

    def test_random(self):
        split, rng = ijba_world(), np.random.default_rng(0)

        def noise(face):
            vector = rng.normal(size=64)
            return vector / np.linalg.norm(vector)

        result = ijba.score([split], describe(split, noise), FAST)
        assert result["tar_at_far_0.1"] < 35
        assert result["rank_1"] < 35
        assert result["tpir_at_fpir_0.01"] < 20

    def test_empty(self):
        split = ijba_world()
        vectors = describe(split, lambda face: np.eye(64)[int(face.subject)])
        learnt = {f.name for t in split.one.train for f in t.faces}
        result = ijba.score([split], {n: v for n, v in vectors.items() if n in learnt}, FAST)
        assert [result[name] for name in ijba.NAMES] == [0] * 7
        assert result["faces_without_descriptor"] == 26 * 2 * 3

    def test_media_outvote_frames(self):
        """One still, 100 frames of one video: each medium weighs a half."""
        frames = [sample(f"f{k}", group="video") for k in range(100)]
        template = TemplateFaces(1, "1", (sample("still", group="photo"), *frames))
        vectors = {"still": np.eye(4)[0]} | {f"f{k}": np.eye(4)[1] for k in range(100)}
        pooled = ijba.pool(template, vectors, lambda rows: rows)
        assert pooled == pytest.approx([math.sqrt(0.5), math.sqrt(0.5), 0, 0])
        assert ijba.pool(template, {}, lambda rows: rows) is None
        opposite = {"still": np.eye(4)[0], "f0": -np.eye(4)[0]}
        assert ijba.pool(template, opposite, lambda rows: rows) is None

    def test_the_embedding_learns_what_tells_people_apart(self):
        """Half of each descriptor is noise, louder than the person's part: TPE learns on others to leave it out."""
        split, rng = ijba_world(120, frames=2), np.random.default_rng(0)
        own = rng.normal(size=(120, 24))

        def vector(face):
            mixed = np.append(own[int(face.subject)], 1.5 * rng.normal(size=24))
            return mixed / np.linalg.norm(mixed)

        result = ijba.score(
            [split], describe(split, vector), triplets.Config(dimension=48, steps=200, batch=64, rate=0.1)
        )
        assert result["tpe_tar_at_far_0.001"] > result["tar_at_far_0.001"] + 8
        assert result["tpe_tpir_at_fpir_0.01"] > result["tpir_at_fpir_0.01"] + 8
        assert result["tpe_rank_1"] > result["rank_1"]

    def test_splits_are_averaged(self):
        splits = [ijba_world(), ijba_world()]
        vectors = describe(splits[0], lambda face: np.eye(64)[int(face.subject)])
        result = ijba.score([splits[0], replace(splits[1], number=2)], vectors, FAST)
        assert (result["rank_1"], result["rank_1_std"]) == (100, 0)
        assert [row[0] for row in result.tables[0].rows] == ["1", "2", "tpe_1", "tpe_2"]
