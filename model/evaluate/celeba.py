"""CelebA (Liu et al. 2015), the official test partition of the photos in the wild: gender, smile, verification.

Gender and smile: accuracy over all photos; the face taken is Analyzed.main_face, a photo without a face counts as
wrong. Verification: all pairs of the test photos, whose people no training has seen; score and misses as in lfw.py. The
teacher's descriptors (machine labels, 128-d) are scored the same way on the photos where its detector found a face, and
so are ours on just those photos: `teacher_` and `same_photos_` figures. Those labels were made of larger copies; what
the teacher makes of our own chips are the `teacher_network_` figures, where its weights are there. With a checkpoint
that has a triplet probabilistic embedding, `tpe_` figures are those of its cosine. What lacks both kinds of pairs is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from model import geometry
from model.datasets import Sample, shared_dir
from model.datasets.readers import celeba
from model.datasets.store import read_photo
from model.evaluate import metrics
from model.evaluate.result import Figure, Plot, Result
from model.evaluate.run import Analyzed, Run
from model.identity.projection import LearnedProjection
from model.network import AllInOne
from model.presets import EMBEDDING, PRESETS
from model.teacher import load_teacher

FAR = (1e-4, 1e-3, 1e-2)
Rates = list[tuple[float, float]]


def test_samples(run: Run) -> list[Sample]:
    """Return the samples of the official test partition."""
    return [s for s in celeba.read("celeba_wild", run.root("celeba_wild")) if s.split == "test"]


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `celeba_wild`."""
    photos = run.analyze(run.some(test_samples(run)), "celeba")
    path = shared_dir() / "data" / "teacher" / "dlib_resnet.npz"
    return score(photos, run.projection, teach(photos, path) if path.is_file() else None)


@torch.inference_mode()
def teach(photos: Sequence[Analyzed], path: Path) -> metrics.Floats:
    """Return the teacher's descriptors [N, 128] of the main faces, of chip and mirror image; 0 without a face."""
    network = AllInOne(PRESETS["residual"]).eval()
    load_teacher(network, path)
    size = network.config.input_size
    rows = np.zeros((len(photos), EMBEDDING))
    for row, photo in zip(rows, photos, strict=True):
        face = photo.main_face()
        if face is not None:
            matrices = geometry.alignment_matrices(
                torch.from_numpy(photo.faces.landmarks[[face]]), size, network.config.frame
            )
            chip = geometry.crop([read_photo(photo.sample.path)], torch.zeros(1, dtype=torch.int64), matrices, size)
            views = network(torch.cat([chip, chip.flip(3)]), ["embedding"])["embedding"]
            row[:] = F.normalize(F.normalize(views, dim=1).mean(dim=0), dim=0).numpy()
    return rows


def score(
    photos: Sequence[Analyzed],
    projection: LearnedProjection | None = None,
    teacher: metrics.Floats | None = None,
) -> Result:
    """Return the protocol's result for analyzed photos."""
    main_faces = [photo.main_face() for photo in photos]
    detected = np.array([face is not None for face in main_faces])

    def column(name: str) -> metrics.Floats:
        pairs = zip(photos, main_faces, strict=True)
        return np.array([np.nan if f is None else float(getattr(p.faces, name)[f]) for p, f in pairs])

    gender = detected & ((column("female") > 0.5) == (np.array([p.sample.female for p in photos]) == 1))
    smile = detected & ((column("smile") > 0.5) == (np.array([p.sample.smile for p in photos]) == 1))
    figures = [
        Figure("gender_accuracy", 100 * float(gender.mean())),
        Figure("smile_accuracy", 100 * float(smile.mean())),
        Figure("photos_without_face", int((~detected).sum()), "photos"),
    ]
    descriptors = np.stack(
        [np.zeros(512) if f is None else p.faces.descriptor[f] for p, f in zip(photos, main_faces, strict=True)]
    )
    verification, plot = _verification(photos, descriptors, detected, projection, teacher)
    return Result("celeba", len(photos), (*figures, *verification), plots=(plot,) if plot.lines else ())


def _verification(
    photos: Sequence[Analyzed],
    descriptors: metrics.Floats,
    detected: metrics.Flags,
    projection: LearnedProjection | None,
    network: metrics.Floats | None,
) -> tuple[list[Figure], Plot]:
    subjects = np.unique([str(p.sample.subject) for p in photos], return_inverse=True)[1]
    taught = np.array([p.sample.embedding is not None for p in photos])
    everyone = np.ones(len(photos), bool)
    columns = {"": (descriptors, detected, everyone)}
    if projection is not None:
        projected = projection.project_unit(descriptors)
        columns |= {"tpe_": (projected, detected, everyone), "same_photos_tpe_": (projected, detected, taught)}
    if network is not None:
        columns |= {"teacher_network_": (network, detected, everyone)}
        columns |= {"same_photos_teacher_network_": (network, detected, taught)}
    if taught.any():
        teacher = np.stack([p.sample.embedding for p in photos if p.sample.embedding is not None]).astype(np.float64)
        teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
        every = np.zeros((len(photos), teacher.shape[1]))
        every[taught] = teacher
        columns |= {"same_photos_": (descriptors, detected, taught), "teacher_": (every, taught, taught)}
    figures = []
    lines = {}
    for name, (vectors, present, chosen) in columns.items():
        scores, genuine = metrics.all_pairs(vectors[chosen], subjects[chosen], present[chosen])
        if genuine.all() or not genuine.any():  # a quick look at a few photos
            continue
        rates = metrics.tar_at_far(scores, genuine, FAR)
        figures += [Figure(f"{name}tar_at_far_{f:g}", 100 * float(r)) for f, r in zip(FAR, rates, strict=True)]
        if not name:
            figures.append(Figure("pairs", len(scores), "pairs"))
        far, tar, _ = metrics.roc(scores, genuine)
        shown = np.unique(np.geomspace(1, len(far) - 1, min(500, len(far) - 1)).astype(int))
        lines[name.rstrip("_").replace("_", " ") or "ours"] = (far[shown], tar[shown])
    return figures, Plot("roc", "false accept rate", "true accept rate", lines, log_x=True)
