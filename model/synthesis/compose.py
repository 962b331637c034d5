"""Turns the head in a photo further aside and puts it over the photo's own background: picture, landmarks, visibility.

Behind the turned head lies the photo with its old face painted over; before the face, where the head has become
narrower, the background is stretched towards it, as 300W-LP (Zhu et al. 2016) does with its anchors.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.datasets import Array
from model.geometry import Image
from model.synthesis import head as heads
from model.synthesis import render

SCALE = 2
"""Pixels of the drawing on a side of a pixel of the result."""


@dataclass(frozen=True, eq=False)
class Profile:
    """A photo with its face turned, and what is known of that face."""

    photo: Image
    points: Array  # [21, 2]
    visibility: Array  # [21] 0 or 1
    pose: Array  # [3] roll, pitch, yaw in degrees
    width: float  # of the face in pixels, between the points before the ears
    added: float  # how much the photo had to grow to hold the head, in widths of the face, on the worst side
    patchiness: float  # standard deviation of the brightness, 0–255, where the hair was made up
    inside: float  # share of the head's pixels whose colour the photo really has, not beyond its border


def turn(photo: Image, head: heads.Head, yaw: float, longest: int) -> Profile:
    """Turn the head in a photo to another yaw on the same side; return it with `longest` pixels at most a side.

    The photo grows by a mirrored border where the turned head would leave it.
    """
    vertices = heads.turned(head, yaw)
    height, width = photo.shape[:2]
    left, top, right, bottom = _room(photo, head, vertices)
    scale = min(longest / max(height + top + bottom, width + left + right), 1.0)
    shift = np.array([left, top])
    size = (round((height + top + bottom) * scale), round((width + left + right) * scale))

    pixels = (vertices + np.array([left, top, 0])) * scale * SCALE
    is_skull = np.arange(len(head.vertices)) >= heads.POINTS
    values = np.concatenate([head.vertices, is_skull[:, None]], axis=1)
    drawn, depths = render.rasterise(
        pixels, values, _facing(pixels, head.triangles), (size[0] * SCALE, size[1] * SCALE)
    )
    is_shown = np.isfinite(depths)
    coordinates = np.full((*is_shown.shape, 2), np.nan, np.float32)
    coordinates[is_shown] = heads.source(head, drawn[is_shown, :3].astype(np.float64), drawn[is_shown, 3] > 0.3)
    face = _sample(photo, coordinates)
    made_up = np.abs(coordinates[is_shown] - heads.shown_at(head, drawn[is_shown, :3])).max(axis=1) > 1
    inside = float(((coordinates[is_shown] > 1) & (coordinates[is_shown] < (width - 1, height - 1))).all(axis=1).mean())
    behind = _background(photo, head, yaw, size, shift, scale)

    points = heads.landmarks(pixels)
    face_width = head.width * scale * SCALE
    towards_camera = heads.landmarks(render.normals(pixels, head.triangles))[:, 2] < 0.12
    is_seen = render.on_surface(points, depths, max(1, round(0.02 * face_width)), 0.05 * face_width)
    return Profile(
        photo=_over(behind, face, is_shown, size),
        points=(points[:, :2] / SCALE).astype(np.float32),
        visibility=(is_seen & towards_camera).astype(np.float32),
        pose=np.array([head.pose[0], head.pose[1], yaw], np.float32),
        width=head.width * scale,
        added=float(max(left, right, top)) / head.width,
        patchiness=float(face[is_shown][made_up].mean(axis=1).std()) if made_up.any() else 0.0,
        inside=inside,
    )


def _over(
    behind: NDArray[np.float32], face: NDArray[np.float32], shown: NDArray[np.bool_], size: tuple[int, int]
) -> Image:
    """Return the face, drawn at SCALE where it is shown, with a soft edge over the background of this size."""
    opacity = cv2.resize(shown.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    weighted = cv2.resize(face * shown[..., None].astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    colours = weighted / np.maximum(opacity, 1e-3)[..., None]
    soft = cv2.GaussianBlur(opacity, (0, 0), 0.6)
    soft = np.minimum(soft, np.where(opacity > 0, 1.0, 0.0))[..., None]
    return np.clip(behind * (1 - soft) + colours * soft, 0, 255).astype(np.uint8)


def _room(photo: Image, head: heads.Head, vertices: Array) -> tuple[int, int, int, int]:
    """Return by how many pixels the photo must grow for the turned head: left, top, right, bottom."""
    height, width = photo.shape[:2]
    margin = 0.2 * head.width
    low = vertices[:, :2].min(axis=0) - margin
    high = vertices[:, :2].max(axis=0) + margin
    left, top = np.ceil(np.maximum(-low, 0)).astype(int)
    right, bottom = np.ceil(np.maximum(high - (width, height), 0)).astype(int)
    # The head's lower end is no loss: a photo that ends at the chin may go on to do so.
    return int(left), int(top), int(right), min(int(bottom), int(0.15 * head.width))


def _facing(vertices: Array, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the triangles without those of the skull that face away: the others hide them, for the skull is convex."""
    corners = vertices[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return triangles[(normal[:, 2] < 0) | (triangles < heads.POINTS).any(axis=1)]


def _sample(photo: Image, coordinates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the photo's colours [H, W, 3] at pixel coordinates [H, W, 2]; mirrored beyond its border."""
    at = np.nan_to_num(coordinates, nan=0.0).astype(np.float32) - np.float32(0.5)
    return np.asarray(
        cv2.remap(photo, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.float32
    )


def _background(
    photo: Image, head: heads.Head, yaw: float, size: tuple[int, int], shift: Array, scale: float
) -> NDArray[np.float32]:
    """Return what lies behind the turned head, [H, W, 3]."""
    bare = _without_face(photo, head)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) + np.float32(0.5)
    x, y = x / scale - shift[0] - head.centre[0], y / scale - shift[1] - head.centre[1]
    roll = np.radians(head.pose[0])
    side = float(np.sign(yaw))
    unit = head.width
    forward = (x * np.cos(roll) + y * np.sin(roll)) * side / unit  # to where the face looks, in widths of the face
    down = (y * np.cos(roll) - x * np.sin(roll)) / unit
    # The old face and its hair, up to `old`, go behind the new head, up to `new`; what lies before them is stretched.
    outline = heads.turned(head, float(head.pose[2]))[:, :2] - head.centre
    reach = (outline[:, 0] * np.cos(roll) + outline[:, 1] * np.sin(roll)) * side / unit
    chin = float(outline[152] @ (-np.sin(roll), np.cos(roll))) / unit
    old = float(reach.max()) + 0.25
    new = 0.15
    end = old + 1.1
    stretched = np.where(
        forward < new, forward * old / new, np.minimum(old + (forward - new) * (end - old) / (end - new), forward + old)
    )
    fade = np.clip((down - chin + 0.1) / 0.7, 0, 1)
    fade = 1 - fade**2 * (3 - 2 * fade)
    moved = (np.where((forward > 0) & (forward < end), stretched - forward, 0) * fade * side * unit).astype(np.float32)
    coordinates = np.stack([x + moved * np.cos(roll), y + moved * np.sin(roll)], axis=-1) + head.centre
    return _sample(bare, coordinates.astype(np.float32))


def _without_face(photo: Image, head: heads.Head) -> Image:
    """Return the photo with the head painted over from its surroundings, without fine detail there."""
    outline = heads.turned(head, float(head.pose[2]))[:, :2]
    roll = np.radians(head.pose[0])
    upwards = np.array([np.sin(roll), -np.cos(roll)]) * head.width
    mask = np.zeros(photo.shape[:2], np.uint8)
    for part in (outline[list(heads.OVAL)], outline[heads.POINTS :]):
        higher = part + 0.22 * upwards * ((part - head.centre) @ upwards > 0)[:, None]  # hair that stands up
        hull = cv2.convexHull((head.centre + 1.1 * (higher - head.centre)).astype(np.float32))
        cv2.fillPoly(mask, [np.round(hull).astype(np.int32)], 255)
    shrink = min(1.0, 60 / head.width)
    size = (max(8, round(photo.shape[1] * shrink)), max(8, round(photo.shape[0] * shrink)))
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    small_mask = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8) * 255
    filled = cv2.inpaint(small, small_mask, 4, cv2.INPAINT_TELEA)
    filled = cv2.resize(filled, (photo.shape[1], photo.shape[0]), interpolation=cv2.INTER_LINEAR)
    share = cv2.GaussianBlur(mask, (0, 0), max(0.015 * head.width, 0.5))[..., None].astype(np.float32) / 255
    return np.asarray(photo * (1 - share) + filled * share, np.uint8)
