"""The protocols of calibrated checkpoints: age ranges and clusters, on answers that are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.datasets import Sample
from model.evaluate import age_ranges, clusters
from model.evaluate.run import Analyzed
from model.identity.age_range import AgeRanges
from model.identity.clusters import Cluster, Clustering
from model.structures import Faces


def photo_of_age(true: float, estimated: float) -> Analyzed:
    """A photo with one face."""
    empty = Faces.empty()
    columns = {key: value for key, value in vars(empty).items() if isinstance(value, np.ndarray)}
    face = replace(empty, **{key: np.ones((1, *value.shape[1:]), np.float32) for key, value in columns.items()})
    face.age[0] = estimated
    return Analyzed(Sample("utkface", "x", Path("x"), "test", age=true), face, 100, 100)


def test_coverage_overall_and_by_decade():
    ranges = AgeRanges(0.8, (30.0, 30.1), (-3.0, -5.0), (2.0, 10.0), 100)
    photos = [photo_of_age(*pair) for pair in ((20, 21), (30, 21), (24, 21), (45, 55), (44, 55), (60, 55))]
    empty = Analyzed(Sample("utkface", "y", Path("y"), "test", age=5), Faces.empty(), 100, 100)
    result = age_ranges.score([*photos, empty], ranges)
    assert result.photos == 6
    assert result["age_range_coverage"] == pytest.approx(100 * 4 / 6)
    assert result["age_range_width"] == 10
    estimated, true = ({row[0]: row[1:] for row in table.rows} for table in result.tables)
    assert estimated == {"20–29": (3, pytest.approx(200 / 3), 5.0), "50–59": (3, pytest.approx(200 / 3), 15.0)}
    assert {name: row[:2] for name, row in true.items()} == {
        "20–29": (2, 100.0), "30–39": (1, 0.0), "40–49": (2, 50.0), "60–69": (1, 100.0),
    }  # fmt: skip


def test_b_cubed_by_hand():
    """Ada's three faces and one of Bob's are one cluster, Bob's other one is alone: 0.7 and 0.8."""
    found = Clustering((Cluster((0, 1, 2, 3), (0.0,) * 4, 0, 0.0),), (), (4,), 0.5)
    precision, recall = clusters.b_cubed(found, ["ada", "ada", "ada", "bob", "bob"])
    assert precision == pytest.approx((3 * 3 / 4 + 1 / 4 + 1) / 5)
    assert recall == pytest.approx((3 + 0.5 + 0.5) / 5)


def test_people_who_are_told_apart():
    rng = np.random.default_rng(0)
    people = [str(number) for number in range(8) for _ in range(5)]
    centres = rng.normal(size=(8, 32)).repeat(5, axis=0)
    vectors = centres + 0.1 * rng.normal(size=centres.shape)
    quality = np.ones(40)
    quality[0] = 0.0
    result = clusters.score(vectors, people, quality, 0.7, {0.5: 0.999})
    assert (result["b_cubed_precision"], result["b_cubed_f"], result["clusters"]) == (100, 100, 8)
    assert result.tables[0].rows[0][2:4] == (100.0, 20.0)
