"""Extracts the 478-point face mesh with depth of a set's labelled faces: the first step of making profiles.

It runs in an environment of its own, because mediapipe 0.10.21 ships its face models but needs numpy < 2:

    python -m venv ~/.cache/allinone-face/mediapipe-venv
    ~/.cache/allinone-face/mediapipe-venv/bin/pip install mediapipe==0.10.21
    ~/.cache/allinone-face/mediapipe-venv/bin/python model/synthesis/extract_mesh.py \
        --photos ~/.cache/allinone-face/data/SET --labels ../shared/data/labels/mesh_SET.npz \
        --out ~/.cache/allinone-face/mesh/SET.npz

The output holds `name` [N], `mesh` [N, 478, 3] float32 (pixels of the photo; depth in pixels too, smaller is nearer)
and `triangles` [852, 3], the triangulation of the first 468 points. Faces that the mesh does not find again are absent.
Nothing else of the project is imported here.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import cv2
import mediapipe as mp
import numpy as np

SIDE = 384
"""Pixels of the square crop that the face mesh looks at."""
MARGIN = 1.9
"""Side of the crop over the longer side of the labelled face box."""


def triangles(edges: frozenset[tuple[int, int]]) -> np.ndarray:
    """Return the triangles [T, 3] of a graph of edges: every three points that are joined pairwise."""
    joined: dict[int, set[int]] = {}
    for first, second in edges:
        joined.setdefault(first, set()).add(second)
        joined.setdefault(second, set()).add(first)
    corners = {
        tuple(sorted((point, a, b)))
        for point, others in joined.items()
        for a, b in itertools.combinations(others, 2)
        if b in joined[a]
    }
    return np.array(sorted(corners), np.int32)


def extract(photos: Path, labels: Path) -> dict[str, np.ndarray]:
    """Return the names and meshes of the faces of a label file whose photos lie below a folder."""
    with np.load(labels) as arrays:
        names = arrays["name"]
        boxes = arrays["box"]
    kept_names = []
    meshes = []
    with mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.3
    ) as network:
        for name, box in zip(names, boxes):  # noqa: B905
            photo = cv2.imread(str(photos / str(name)))
            if photo is None:
                continue
            side = MARGIN * float((box[2:] - box[:2]).max())
            scale = SIDE / side
            corner = (box[:2] + box[2:]) / 2 - side / 2
            matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
            crop = cv2.warpAffine(photo, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            meshes_found = network.process(np.ascontiguousarray(crop[:, :, ::-1])).multi_face_landmarks
            if meshes_found:
                mesh = np.array([(p.x, p.y, p.z) for p in meshes_found[0].landmark], np.float32) * side
                mesh[:, :2] += corner
                kept_names.append(str(name))
                meshes.append(mesh)
    edges = mp.solutions.face_mesh.FACEMESH_TESSELATION
    return {"name": np.array(kept_names), "mesh": np.stack(meshes), "triangles": triangles(edges)}


def main() -> None:
    """Read the command line and write the .npz file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder that the label file's names start from")
    parser.add_argument("--labels", type=Path, required=True, help="the set's machine labels, mesh_<set>.npz")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arrays = extract(arguments.photos.expanduser(), arguments.labels)
    arguments.out.expanduser().parent.mkdir(parents=True, exist_ok=True)
    np.savez(arguments.out.expanduser(), **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
