"""Tells which labelled glasses are so dark that nobody sees the eyes behind them.

CelebA and MTFL label who wears glasses, but not whether they are dark, and the face mesh that labelled the landmarks
calls eyes behind any glasses visible. Dark lenses show in the photo: around the eyes it is much darker than on the nose
and the cheeks. Swimming goggles count as dark glasses where they look like them. The rule was made and looked at with
training and validation photos (docs/log.md, 'Dark glasses that people wear').
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from model import geometry
from model.datasets import Array, Sample
from model.geometry import Image

EYES = (6, 7, 8, 9, 10, 11)
BROWS = (0, 1, 2, 3, 4, 5)
"""Indices into model.landmarks.NAMES of both eyes' and both brows' landmarks, the left one's three first."""
DARK = 0.37
"""Up to this brightness of the lenses, relative to the skin, the eyes are hidden."""
CLEAR = 0.75
"""From this brightness on they are taken to be visible. In between are tinted, mirrored and thick-rimmed glasses,
behind some of which the eyes can be seen."""

_EYE_CENTRES = (7, 10)
_NOSE_TIP = 14
_MOUTH_CORNERS = (17, 19)
_CHIN = 20
_SIDE = 112
_FRAME = "arcface"
_LENS = np.array([0.16, 0.11])
_SKIN = np.array([0.07, 0.07])
"""Half width and height of the patches that are looked at, in distances from the eyes to the chin."""
_CHEEK = 0.55
"""The cheek lies so far on the way from the eye's centre to the corner of the mouth."""
_BRIGHT = 80
"""Percentile of a lens that is compared: eyes seen through clear glasses have skin and white around the iris."""
_LEAST_SKIN = 8.0
"""Added to the brightness of the skin, 0–255: where all is nearly black, glasses are not dark by noise alone."""


def labelled(sample: Sample, photo: Image) -> Sample:
    """Return the sample with the visibility that glasses leave to its eyes and brows.

    Behind dark glasses the eyes get 0 and the brows, which may be above the rim, NaN. Behind glasses that may be either
    both get NaN. Samples with clear glasses or none, or that lack a landmark or the visibility, come back as they are.
    """
    if sample.glasses != 1 or sample.visibility is None:
        return sample
    if sample.landmarks is None or not np.isfinite(sample.landmarks).all():
        return sample
    brightness = lens_brightness(photo, sample.landmarks)
    if brightness >= CLEAR:
        return sample
    visibility = np.array(sample.visibility, np.float32)
    visibility[list(BROWS)] = np.nan
    visibility[list(EYES)] = 0.0 if brightness <= DARK else np.nan
    return replace(sample, visibility=visibility)


def hides_eyes(sample: Sample) -> bool:
    """Return whether the sample is labelled as having both eyes hidden, which no turn of the head does."""
    return sample.visibility is not None and bool((np.asarray(sample.visibility)[list(EYES)] == 0).all())


def lens_brightness(photo: Image, landmarks: Array) -> float:
    """Return how bright it is around the eyes of the face with landmarks [21, 2], where its skin is 1.

    The photo is RGB uint8 [H, W, 3].
    """
    points = torch.from_numpy(np.asarray(landmarks, np.float32))[None]
    matrix = geometry.alignment_matrices(points, _SIDE, _FRAME).numpy()[0].astype(np.float64)
    chip = np.asarray(cv2.cvtColor(geometry.warp(photo, matrix, _SIDE), cv2.COLOR_RGB2GRAY), np.uint8)
    in_chip = np.asarray(landmarks) @ matrix[:, :2].T + matrix[:, 2]
    eyes = in_chip[list(_EYE_CENTRES)]
    height = float(np.linalg.norm(in_chip[_CHIN] - eyes.mean(axis=0)))
    cheeks = eyes + _CHEEK * (in_chip[list(_MOUTH_CORNERS)] - eyes)
    skin = np.concatenate([_patch(chip, point, _SKIN * height) for point in (in_chip[_NOSE_TIP], *cheeks)])
    lenses = [_patch(chip, point, _LENS * height) for point in eyes]
    return float(np.mean([np.percentile(lens, _BRIGHT) for lens in lenses]) / (np.median(skin) + _LEAST_SKIN))


def _patch(chip: Image, centre: Array, half: Array) -> Image:
    """Return the pixels [N] of a rectangle around the centre, at least the one nearest to it."""
    low = np.clip(np.floor(centre - half), 0, _SIDE - 1).astype(int)
    high = np.clip(np.floor(centre + half), low, _SIDE - 1).astype(int)
    return chip[low[1] : high[1] + 1, low[0] : high[0] + 1].ravel()
