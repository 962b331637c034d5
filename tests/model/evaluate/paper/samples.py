"""Samples, photos, detections and a network's answers, made by hand, for the paper's protocols."""

from pathlib import Path

import numpy as np

from model import landmarks
from model.datasets import Sample
from model.datasets.photo import Photo
from model.evaluate import regions

BOX = np.float32([10, 10, 50, 50])
UNIT = np.eye(1, 512)[0]


def sample(name="a.jpg", **labels):
    return Sample("drawn", name, Path(name.partition("#")[0]), "test", **labels)


def answer(points=None, yaw=0.0, female=0.0, smile=0.0, proposals=3):
    points = landmarks.CANONICAL * 40 + 10 if points is None else points
    return regions.Answer(proposals, points, np.array([0.0, 0.0, yaw]), smile, female, 30.0, UNIT)


def photo(boxes, difficult=(), name="a.jpg"):
    boxes = np.float32(boxes).reshape(-1, 4)
    flags = np.zeros(len(boxes), bool)
    flags[list(difficult)] = True
    return Photo(sample(name), boxes, flags)


def found(boxes, scores):
    return np.float32(boxes).reshape(-1, 4), np.float32(scores)


def face(points=None, yaw=0.0, side=40.0, hidden=()):
    points = np.float32(landmarks.CANONICAL * 40 + 10) if points is None else points.copy()
    points[list(hidden)] = np.nan
    return sample(landmarks=points, box=np.float32([10, 10, 10 + side, 10 + side]), pose=np.float32([0, 0, yaw]))
