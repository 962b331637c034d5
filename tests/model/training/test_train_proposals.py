"""Mosaics that the proposer learns from: faces are covered as often as they should be, and keep their boxes."""

import numpy as np

from model.datasets.mixture import photos
from model.datasets.store import PhotoStore
from model.training import train_proposals
from model.training.train_proposals import CANVAS, Mosaics


def test_covered_faces_keep_their_boxes_and_change_their_pixels(world, monkeypatch):
    faces, empty = photos()
    data = Mosaics([s for s in faces if s.split == "train"], empty, PhotoStore(faces + empty))
    changed = 0
    laid = 0
    for seed in range(12):
        canvases = []
        boxes = []
        for share in (0.0, 1.0):
            monkeypatch.setattr(train_proposals, "COVERED", share)
            canvas = np.full((CANVAS, CANVAS, 3), 128, np.uint8)
            boxes.append(data._lay(canvas, [], np.random.default_rng(seed)))
            canvases.append(canvas)
        if boxes[0] is None:
            assert boxes[1] is None
            continue
        np.testing.assert_array_equal(boxes[0], boxes[1])
        laid += 1
        changed += (canvases[0] != canvases[1]).any()
    assert laid >= 6
    assert changed > laid / 2
