"""Clusters of faces: against a slow oracle and SciPy, what may never join, what order, quality and size do."""

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from model.identity.calibration import calibrate
from model.identity.clusters import Clustering, cluster_faces, clustering_threshold


def people(seed: int, count: int, faces: int, noise: float = 0.7, dimension: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [count · faces, D] around one direction a person, and whose they are."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(count), faces)
    centres = rng.normal(size=(count, dimension))
    return (centres[owners] + noise * rng.normal(size=(len(owners), dimension))).astype(np.float32), owners


def partition(result: Clustering, names: np.ndarray | None = None) -> set[frozenset[int]]:
    """The clusters and single faces as sets, in the numbers of another order if that is given."""
    groups = [cluster.faces for cluster in result.clusters] + [(i,) for i in result.single]
    return {frozenset(int(i if names is None else names[i]) for i in group) for group in groups}


def greedy(vectors: np.ndarray, photos: list[int], threshold: float) -> set[frozenset[int]]:
    """The definition itself: join the two most similar clusters until none reaches the threshold."""
    units = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    clusters = [[i] for i in range(len(units))]
    while True:
        best, pair = threshold, None
        for a, b in combinations(range(len(clusters)), 2):
            if {photos[i] for i in clusters[a]} & {photos[i] for i in clusters[b]}:
                continue
            mean = float((units[clusters[a]] @ units[clusters[b]].T).mean())
            if mean >= best:
                best, pair = mean, (a, b)
        if pair is None:
            return {frozenset(cluster) for cluster in clusters}
        clusters[pair[0]] += clusters.pop(pair[1])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4), st.floats(0.1, 0.8))
def test_it_is_the_definition(seed: int, count: int, faces: int, threshold: float) -> None:
    vectors, _ = people(seed, count, faces)
    photos = np.random.default_rng(seed).integers(0, 5, len(vectors)).tolist()
    assert partition(cluster_faces(vectors, photos, threshold)) == greedy(vectors, photos, threshold)


def test_it_is_scipys_average_linkage_without_shared_photos() -> None:
    vectors, _ = people(3, 12, 6, noise=1.0)
    tree = linkage(vectors, "average", metric="cosine")
    for threshold in (0.2, 0.4, 0.6):
        numbers = fcluster(tree, 1 - threshold, "distance")
        expected = {frozenset(np.flatnonzero(numbers == n).tolist()) for n in np.unique(numbers)}
        assert partition(cluster_faces(vectors, range(len(vectors)), threshold)) == expected


def test_people_are_found() -> None:
    vectors, owners = people(0, 5, 4, noise=0.3)
    result = cluster_faces(vectors, range(20), 0.5)
    assert partition(result) == {frozenset(np.flatnonzero(owners == p).tolist()) for p in range(5)}
    assert result.single == result.left_out == ()
    assert result.threshold == 0.5


def test_two_faces_of_one_photo_never_join() -> None:
    """Not even twins with equal vectors, nor by way of a third photo."""
    twin = np.tile(np.float32([1, 0, 0]), (4, 1))
    result = cluster_faces(twin, ["a", "a", "b", "b"], 0.1)
    assert sorted(len(cluster.faces) for cluster in result.clusters) == [2, 2]
    for cluster in result.clusters:
        assert len({i // 2 for i in cluster.faces}) == 2


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_the_photos_makes_no_difference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, _ = people(seed, 6, 5, noise=1.0)
    photos, quality = rng.integers(0, 12, 30), rng.uniform(0, 1, 30)
    first = cluster_faces(vectors, photos.tolist(), 0.3, quality)
    order = rng.permutation(30)
    second = cluster_faces(vectors[order], [f"photo {n}" for n in photos[order]], 0.3, quality[order])
    assert partition(first) == partition(second, order)
    assert set(first.left_out) == {int(order[i]) for i in second.left_out}
    assert [c.similarity for c in first.clusters] == [c.similarity for c in second.clusters]


def test_faces_of_low_quality_join_last_and_start_nothing() -> None:
    vectors, _ = people(1, 3, 4, noise=0.2)
    quality = np.ones(12)
    quality[[3, 8, 9, 10, 11]] = 0.1  # one of the first person, all of the third
    result = cluster_faces(vectors, range(12), 0.5, quality)
    assert partition(result) == {frozenset({0, 1, 2, 3}), frozenset({4, 5, 6, 7})}
    assert result.left_out == (8, 9, 10, 11)


def test_a_poor_face_does_not_pair_with_a_single_good_one() -> None:
    result = cluster_faces(np.ones((2, 4)), ["a", "b"], 0.5, [1.0, 0.0])
    assert result.clusters == ()
    assert result.single == (0,)
    assert result.left_out == (1,)


def test_of_two_poor_faces_of_a_photo_the_more_similar_joins() -> None:
    vectors = np.float32([[1, 0], [1, 0], [1, 0.3], [1, 0.1]])
    result = cluster_faces(vectors, ["a", "b", "c", "c"], 0.5, [1, 1, 0, 0])
    assert partition(result) == {frozenset({0, 1, 3})}
    assert result.left_out == (2,)


def test_a_cluster_is_described() -> None:
    """Three unit vectors at 0°, 60° and 90°: similarities 0.5, 0.866 and 0."""
    angles = np.deg2rad([0, 60, 90])
    vectors = 5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    [cluster] = cluster_faces(vectors, [1, 2, 3], 0.2).clusters
    assert cluster.faces == (1, 2, 0)
    np.testing.assert_allclose(cluster.similarity, [(0.5 + 0.75**0.5) / 2, 0.75**0.5 / 2, 0.25], atol=1e-6)
    assert cluster.exemplar == 1
    np.testing.assert_allclose(cluster.cohesion, (0.5 + 0.75**0.5) / 3, atol=1e-6)
    [poor] = cluster_faces(vectors, [1, 2, 3], 0.2, [1, 0, 1], gate=0).clusters
    assert poor.exemplar == 1
    [better] = cluster_faces(np.vstack([vectors, vectors[:1]]), range(4), 0.2, [1, 0, 1, 1]).clusters
    assert better.faces[better.faces.index(better.exemplar)] != 1


def test_nothing_and_one_face() -> None:
    assert cluster_faces(np.zeros((0, 8)), [], 0.5) == Clustering((), (), (), 0.5)
    assert cluster_faces(np.ones((1, 8)), ["a"], 0.5).single == (0,)


@pytest.mark.parametrize("bad", [np.zeros((2, 4)), np.full((2, 4), np.nan), np.full((2, 4), np.inf)])
def test_a_vector_without_direction_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite and not zero"):
        cluster_faces(bad, ["a", "b"], 0.5)


def test_qualities_belong_to_faces() -> None:
    with pytest.raises(ValueError, match="2 faces need as many qualities"):
        cluster_faces(np.ones((2, 4)), ["a", "b"], 0.5, [1.0])
    with pytest.raises(ValueError, match="2 faces need as many vectors"):
        cluster_faces(np.ones((3, 4)), ["a", "b"], 0.5)


def test_the_threshold_is_the_calibrations() -> None:
    vectors, owners = people(5, 200, 10)
    calibration = calibrate(vectors, owners, "cosine", resamples=2)
    assert clustering_threshold(calibration) == calibration.threshold(1e-3)
    assert clustering_threshold(calibration, 1e-2) == calibration.threshold(1e-2)


LARGE = """
import time
import numpy as np
from model.identity.clusters import cluster_faces
rng = np.random.default_rng(0)
def peak():
    lines = open("/proc/self/status").read().splitlines()  # ru_maxrss would count the parent's memory, too
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
owners = rng.integers(300, size=5000)
vectors = rng.normal(size=(300, 512))[owners] + 1.2 * rng.normal(size=(5000, 512))
started = time.process_time()
clusters = cluster_faces(vectors.astype(np.float32), range(5000), 0.3).clusters
print(time.process_time() - started, peak(), len(clusters))
"""


def test_five_thousand_faces_in_ten_seconds_and_400_megabytes() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    seconds, megabytes, clusters = map(float, done.stdout.split())
    assert seconds < 10
    assert megabytes < 400
    assert clusters == 300
