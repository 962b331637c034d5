"""Turned heads: rotations and drawing worked out by hand, and a round drawn head that is turned in a drawn photo."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from model import landmarks as markup
from model.synthesis import compose, head, render

SIDE = 300
NOSE = 14


@pytest.mark.parametrize(
    ("pose", "point", "moved"),
    [
        ((0, 0, 90), (0, 0, -1), (1, 0, 0)),  # the nose, which pointed at the camera, to the image's right
        ((0, 0, -90), (0, 0, -1), (-1, 0, 0)),
        ((0, 90, 0), (0, 0, -1), (0, -1, 0)),  # nose up
        ((90, 0, 0), (0, -1, 0), (1, 0, 0)),  # the crown to the right: clockwise
        ((90, 0, 90), (0, 0, -1), (0, 1, 0)),  # first aside, then clockwise
    ],
)
def test_rotations_have_the_signs_of_the_labels(pose, point, moved):
    np.testing.assert_allclose(head.rotation(np.array(pose)) @ point, moved, atol=1e-12)


def drawn_mesh(pose, seed=0):
    """A face mesh [478, 3] on the front half of an ellipsoid in the middle of a SIDE photo, and its triangles."""
    rng = np.random.default_rng(seed)
    radius, angle = np.sqrt(rng.uniform(0, 0.8, 478)), rng.uniform(0, 2 * np.pi, 478)
    rim = np.arange(36) / 36 * 2 * np.pi - np.pi / 2
    radius[list(head.OVAL)], angle[list(head.OVAL)] = 1, rim
    radius[[4, 9]], angle[[4, 9]] = (0.05, 0.5), (0.0, -np.pi / 2)
    flat = np.stack([radius * np.cos(angle), 1.25 * radius * np.sin(angle)], axis=1)
    points = np.column_stack([flat, -np.sqrt(1.02 - radius**2)]) * 40
    triangles = Delaunay(flat[:468]).simplices.astype(np.int32)
    mesh = points @ head.rotation(np.array(pose)).T + (SIDE / 2, SIDE / 2, 0)
    return mesh.astype(np.float32), triangles


def turned(pose, yaw, seed=0):
    mesh, triangles = drawn_mesh(pose, seed)
    photo = np.random.default_rng(1).integers(0, 256, (SIDE // 10, SIDE // 10, 3), dtype=np.uint8)
    photo = photo.repeat(10, axis=0).repeat(10, axis=1)
    return photo, mesh, compose.turn(photo, head.build(mesh, triangles, np.array(pose)), yaw, 320)


@settings(max_examples=15, deadline=None)
@given(roll=st.floats(-30, 30), pitch=st.floats(-20, 20), yaw=st.floats(10, 40), right=st.booleans())
def test_a_head_turned_to_where_it_looks_already_stays_where_it_is(roll, pitch, yaw, right):
    yaw = yaw if right else -yaw
    photo, mesh, profile = turned((roll, pitch, yaw), yaw)
    shift = (np.array(profile.photo.shape[:2]) - photo.shape[:2]).any()
    assert not shift, "a head in the middle needs no larger photo"
    np.testing.assert_allclose(profile.points, head.landmarks(mesh)[:, :2], atol=0.05)
    np.testing.assert_allclose(profile.pose, (roll, pitch, yaw), atol=1e-4)
    # The middle of the face shows what the photo has there.
    row, column = np.round(profile.points[NOSE] - 0.5).astype(int)[::-1]
    before, after = (p[row - 2 : row + 3, column - 2 : column + 3].mean() for p in (photo, profile.photo))
    assert abs(before - after) < 12


@pytest.mark.parametrize("side", [-1, 1])
def test_a_turned_head_hides_its_far_side(side):
    _, mesh, profile = turned((0, 0, 25 * side), 85 * side)
    assert profile.pose.tolist() == [0, 0, 85 * side]
    near, far = (12, 16) if side > 0 else (16, 12)
    assert profile.visibility[near] == 1
    assert profile.visibility[far] == 0
    assert set(np.unique(profile.visibility)) <= {0.0, 1.0}
    # The nose moves to where the face looks, and its height stays.
    before = head.landmarks(mesh)[NOSE]
    moved = (profile.points[NOSE] - before[:2]) * (side, 1)
    assert moved[0] > 20
    assert abs(moved[1]) < 0.5


def test_the_mirror_image_of_a_photo_gives_the_mirror_image_of_the_profile():
    mesh, triangles = drawn_mesh((8, 5, 25))
    photo = turned((8, 5, 25), 25)[0]
    mirrored_mesh = mesh * (-1, 1, 1) + (SIDE, 0, 0)
    first = compose.turn(photo, head.build(mesh, triangles, np.array((8.0, 5, 25))), 70, 320)
    second = compose.turn(
        np.ascontiguousarray(photo[:, ::-1]), head.build(mirrored_mesh, triangles, np.array((-8.0, 5, -25))), -70, 320
    )
    assert first.photo.shape == second.photo.shape
    width = first.photo.shape[1]
    np.testing.assert_allclose(first.points, second.points * (-1, 1) + (width, 0), atol=0.05)
    assert (first.visibility == second.visibility).mean() > 0.9
    assert np.abs(first.photo.astype(int) - second.photo[:, ::-1]).mean() < 4


def test_what_leaves_the_photo_makes_it_grow_and_is_counted():
    mesh, triangles = drawn_mesh((0, 0, 20))
    photo = turned((0, 0, 20), 20)[0]
    cut = 112  # the face begins 110 pixels from the left border
    profile = compose.turn(
        np.ascontiguousarray(photo[:, cut:]), head.build(mesh - (cut, 0, 0), triangles, np.array((0.0, 0, 20))), 80, 320
    )
    assert profile.added > 0.1
    assert profile.photo.shape[1] > SIDE - cut
    assert profile.inside < 1
    assert (profile.points > 0).all()


def test_a_head_of_one_colour_has_no_patchy_hair_and_a_chequered_one_has():
    mesh, triangles = drawn_mesh((0, 0, 20))
    whole = head.build(mesh, triangles, np.array((0.0, 0, 20)))
    grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
    assert compose.turn(grey, whole, 80, 320).patchiness < 1
    chequered = (np.indices((SIDE, SIDE)).sum(axis=0) // 6 % 2 * 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert compose.turn(chequered, whole, 80, 320).patchiness > 45


def test_large_photos_shrink_with_their_landmarks():
    mesh, triangles = drawn_mesh((0, 0, 20))
    photo = turned((0, 0, 20), 20)[0]
    large = photo.repeat(2, axis=0).repeat(2, axis=1)
    small = compose.turn(photo, head.build(mesh, triangles, np.array((0.0, 0, 20))), 60, 150)
    big = compose.turn(large, head.build(mesh * 2, triangles, np.array((0.0, 0, 20))), 60, 150)
    assert max(small.photo.shape) == max(big.photo.shape) == 150
    np.testing.assert_allclose(small.points, big.points, atol=0.3)
    assert small.width == pytest.approx(big.width, rel=0.01)


def test_of_two_triangles_the_nearer_is_drawn():
    vertices = np.array([(0, 0, 5), (10, 0, 5), (0, 10, 5), (0, 0, 1), (10, 0, 9), (0, 10, 9)], float)
    values = np.array([[1.0], [1], [1], [2], [2], [2]])
    triangles = np.array([(0, 1, 2), (3, 4, 5)], np.int32)
    drawn, depths = render.rasterise(vertices, values, triangles, (10, 12))
    assert drawn.shape == (10, 12, 1)
    assert np.isnan(drawn[9, 9])
    assert np.isinf(depths[9, 9])
    # The second triangle's depth is 1 + 0.8 (x + y): nearer than 5 where x + y < 5.
    for row, column in ((0, 0), (1, 2), (4, 4), (0, 8)):
        x, y = column + 0.5, row + 0.5
        second = 1 + 0.8 * (x + y)
        assert drawn[row, column, 0] == (2 if second < 5 else 1)
        assert depths[row, column] == pytest.approx(min(second, 5), abs=1e-5)


def test_values_between_the_corners_are_interpolated():
    vertices = np.array([(0, 0, 0), (20, 0, 0), (0, 20, 0)], float)
    drawn, _ = render.rasterise(vertices, vertices[:, :2], np.array([(0, 1, 2)], np.int32), (20, 20))
    row, column = np.nonzero(np.isfinite(drawn[..., 0]))
    assert len(row) > 180
    np.testing.assert_allclose(drawn[row, column], np.stack([column, row], axis=1) + 0.5, atol=1e-4)


def test_points_lie_on_the_surface_or_behind_it():
    depths = np.full((10, 10), np.inf, np.float32)
    depths[:, :5] = 3
    points = np.array([(2.5, 2.5, 3.2), (2.5, 2.5, 5), (5.5, 2.5, 3), (8.5, 2.5, 3), (-4, 2, 3)])
    assert render.on_surface(points, depths, 1, 0.5).tolist() == [True, False, True, False, True]


def test_normals_of_a_flat_triangle():
    vertices = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (9, 9, 9)], float)
    normals = render.normals(vertices, np.array([(0, 1, 2)], np.int32))
    np.testing.assert_allclose(normals, [(0, 0, 1)] * 3 + [(0, 0, 0)], atol=1e-12)


def test_the_landmarks_are_means_of_mesh_points():
    mesh = np.arange(478 * 3, dtype=float).reshape(478, 3)
    points = head.landmarks(mesh)
    assert points.shape == (markup.COUNT, 3)
    assert (points[7] == mesh[468]).all()
    assert (points[18] == (mesh[13] + mesh[14]) / 2).all()
