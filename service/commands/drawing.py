"""Draw what is known of faces into copies of photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from service import images
from service.wire import FaceResult, Pose

GREEN = (90, 220, 120)
AMBER = (255, 190, 60)
AXES = ((255, 90, 90), (90, 220, 120), (90, 150, 255))  # x to the image's right, y down, z out of the face
VISIBLE = 0.5
"""Landmarks that are less visible than this are drawn as rings."""
JPEG_QUALITY = 92


def draw_faces(image: images.Pixels, faces: Sequence[FaceResult]) -> images.Pixels:
    """Return a copy of an RGB image with boxes, landmarks, pose axes, gender, age and smile."""
    canvas = image.copy()
    for face in faces:
        x, y, width, height = (round(value) for value in (face.box.x, face.box.y, face.box.width, face.box.height))
        size = min(width, height)
        thickness = max(1, round(size / 80))
        cv2.rectangle(canvas, (x, y), (x + width, y + height), GREEN, thickness, cv2.LINE_AA)
        for mark in face.landmarks or ():
            fill = -1 if mark.visibility >= VISIBLE else 1
            cv2.circle(canvas, (round(mark.x), round(mark.y)), thickness + 1, AMBER, fill, cv2.LINE_AA)
        _draw_axes(canvas, face.pose, (x + width // 2, y + height // 2), size / 2, thickness)
        text = f"{face.gender} {face.age:.0f}, smile {face.smile:.2f}"
        at = (x, max(12, y - 4))
        scale = max(0.35, size / 260)
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, GREEN, thickness, cv2.LINE_AA)
    return canvas


def save_copy(path: Path, image: images.Pixels) -> None:
    """Write an RGB image as JPEG beside the copies that are there already. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.with_suffix(".jpg")
    number = 2
    while target.exists():
        target = path.with_name(f"{path.stem}-{number}.jpg")
        number += 1
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise OSError(f"{target.name} cannot be encoded")
    target.write_bytes(data.tobytes())


def _draw_axes(canvas: images.Pixels, pose: Pose, center: tuple[int, int], length: float, thickness: int) -> None:
    """Draw the three axes of a head that turns about y, then x, then z."""
    roll, pitch, yaw = np.radians((pose.roll, pose.pitch, pose.yaw))
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    for axis, color in zip((about_z @ about_y @ about_x).T, AXES, strict=True):
        tip = (round(center[0] + length * axis[0]), round(center[1] + length * axis[1]))
        cv2.arrowedLine(canvas, center, tip, color, thickness, cv2.LINE_AA, tipLength=0.15)
