"""Photos sorted into people: B-cubed precision and recall on CelebA's test people, with the landmarks found.

The face of a photo is Analyzed.main_face; a photo without one is left out. Faces are sorted as the service sorts them:
by the checkpoint's own threshold and the quality gate. A face that is alone or left out is a cluster of one. B-cubed
(Bagga & Baldwin 1998): for each face the share of its cluster that is the same person (precision), and the share of its
person that is in its cluster (recall), averaged over faces; F is their harmonic mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.checkpoint_file import SHIPPED, read_checkpoint_file
from model.datasets.store import read_photo
from model.evaluate import celeba, metrics
from model.evaluate.result import Figure, Result, Table
from model.evaluate.run import Run
from model.identity import comparison
from model.identity.clusters import Clustering, cluster_faces, clustering_threshold
from model.runtime import quality

RATES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
"""False accept rates of single pairs whose thresholds are tried beside the one that is used."""


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without `celeba_wild`, ValueError for a checkpoint without calibration."""
    identity = comparison.of(read_checkpoint_file(run.analyzer.config.weights or SHIPPED))
    if identity.calibration is None:
        raise ValueError("the checkpoint has no calibration: join the part that model.tools.calibrate writes")
    photos = run.analyze(run.some(celeba.test_samples(run)), "celeba")
    faces = [(photo, face) for photo in photos if (face := photo.main_face()) is not None]
    vectors = identity.vectors(np.stack([photo.faces.descriptor[face] for photo, face in faces]))
    good = np.array([quality.assess(read_photo(p.sample.path), p.faces[[face]])[0].overall for p, face in faces])
    people = [str(photo.sample.subject) for photo, _ in faces]
    threshold = clustering_threshold(identity.calibration)
    other_thresholds = {rate: clustering_threshold(identity.calibration, rate) for rate in RATES}
    return score(vectors, people, good, threshold, other_thresholds)


def score(
    vectors: metrics.Floats,
    people: Sequence[str],
    good: metrics.Floats,
    threshold: float,
    other_thresholds: dict[float, float],
) -> Result:
    """Return the figures of vectors [N, D] of people [N] and quality [N], and a table of other thresholds."""
    clustering = cluster_faces(vectors, range(len(vectors)), threshold, good)
    precision, recall = b_cubed(clustering, people)
    figures = (
        Figure("b_cubed_precision", 100 * precision),
        Figure("b_cubed_recall", 100 * recall),
        Figure("b_cubed_f", 100 * harmonic_mean(precision, recall)),
        Figure("clusters", len(clustering.clusters), ""),
        Figure("people", len(set(people)), ""),
        Figure("left_out", len(clustering.left_out), "faces"),
        Figure("threshold", threshold, "similarity"),
    )
    rows = []
    for rate, value in other_thresholds.items():
        tried = b_cubed(cluster_faces(vectors, range(len(vectors)), value, good), people)
        rows.append((f"{rate:g}", value, 100 * tried[0], 100 * tried[1], 100 * harmonic_mean(*tried)))
    table = Table("By the threshold's false accept rate", ("rate", "threshold", "precision", "recall", "F"), rows)
    return Result("clusters", len(vectors), figures, (table,))


def b_cubed(clustering: Clustering, people: Sequence[str]) -> tuple[float, float]:
    """Return precision and recall, 0–1, of faces that show these people [N]."""
    groups = [
        *(cluster.faces for cluster in clustering.clusters),
        *((face,) for face in (*clustering.single, *clustering.left_out)),
    ]
    cluster = np.empty(len(people), np.int64)
    for number, faces in enumerate(groups):
        cluster[list(faces)] = number
    person = np.unique(list(people), return_inverse=True)[1]
    together = cluster[:, None] == cluster
    same = person[:, None] == person
    both = (together & same).sum(axis=1)
    return float((both / together.sum(axis=1)).mean()), float((both / same.sum(axis=1)).mean())


def harmonic_mean(precision: float, recall: float) -> float:
    """Return F of two shares, of which one is above 0."""
    return 2 * precision * recall / (precision + recall)
