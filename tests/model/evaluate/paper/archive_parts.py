"""What archives in miniature are made of: drawn faces and their photos, tables, lines of text, MATLAB cells."""

import csv
from pathlib import Path

import cv2
import numpy as np

from model import landmarks

SIDE = 120


def face_points(seed: int, side: int = SIDE, width: float | None = None) -> np.ndarray:
    """Landmarks [21, 2] of the drawn face number `seed`, some 60 px wide."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(55, 65) if width is None else width
    return (landmarks.CANONICAL * size + rng.uniform(0.2, 0.3, 2) * side).astype(np.float32)


def turned_points(seed: int, roll: float, pitch: float, yaw: float) -> np.ndarray:
    """The same face with its nose moved as the angles (degrees, our signs) have it, then turned by roll."""
    points = face_points(seed)
    eyes = points[[7, 10]].mean(axis=0)
    points[13:16] += np.float32([20 * np.sin(np.deg2rad(yaw)), -12 * np.sin(np.deg2rad(pitch))])
    angle = np.deg2rad(roll)
    turn = np.float32([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (points - eyes) @ turn + eyes


def photo(path: Path, points: np.ndarray, side: int = SIDE) -> None:
    """Grey with a coloured dot at every landmark, as JPEG (or what the name says)."""
    image = np.full((side, side, 3), 60, np.uint8)
    for index, (x, y) in enumerate(points):
        if np.isfinite((x, y)).all():
            colour = (12 * index, 255 - 12 * index, 128 if index % 2 else 250)
            cv2.circle(image, (int(x * 16 - 8), int(y * 16 - 8)), 40, colour, -1, cv2.LINE_AA, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def box_of(points: np.ndarray) -> np.ndarray:
    """Extent of the landmarks, xyxy."""
    return np.concatenate([np.nanmin(points, axis=0), np.nanmax(points, axis=0)])


def table(path: Path, columns: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def cell(items: list[object]) -> np.ndarray:
    """A MATLAB cell row."""
    array = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        array[0, i] = item
    return array
