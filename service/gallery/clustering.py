"""Sort faces into people under the model that answers. Numpy only."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence

import numpy as np

from model.identity.clusters import Clustering, cluster_faces, clustering_threshold
from service.gallery import Vector
from service.gallery.errors import InvalidSubject
from service.gallery.scoring import Scoring

_ONE_AT_A_TIME = threading.Lock()  # 10,000 faces take 400 MB


def cluster_people(
    scoring: Scoring, vectors: Sequence[Vector], photos: Sequence[Hashable], quality: Sequence[float], gate: float
) -> Clustering:
    """Return the people among faces with vectors [D], of these photos and this quality.

    Two faces of one photo are never one person, and a face below the quality `gate` starts no cluster. Raises
    NotCalibrated, InvalidSubject for a vector of zeros.
    """
    rows = np.stack(vectors) if vectors else np.zeros((0, scoring.dimension), np.float32)
    threshold = clustering_threshold(scoring.calibrated())
    with _ONE_AT_A_TIME:
        try:
            return cluster_faces(rows, photos, threshold, quality, gate)
        except ValueError as error:
            raise InvalidSubject(str(error)) from error
