"""IJB-A (Klare et al. 2015): verification and identification over 10 splits (section IV-F, Tables V and VI).

End to end: every photo goes through the whole pipeline; a template's face is the detection that overlaps the marked box
most (IoU ≥ 0.5), and where none does, the network's answer for the marked box itself (the protocol gives the boxes).
A template is pooled by media (model.identity.templates): frames of one medium first, then media, unit length. Its
score with another is the cosine, or, with the triplet embedding, the cosine of the projected ones; the embedding W
(model.identity.triplets) is learnt on each split's own training templates. A template without any face scores −1 with
all.

Figures are means over the splits in per cent, `…_std` their standard deviations: TAR at FAR 0.001, 0.01, 0.1 (1:1);
TPIR at FPIR 0.01, 0.1 and rates at ranks 1, 10 (1:N), as templates_at.py has them; `tpe_…` are those with TPE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from model import boxes as boxes_
from model.datasets import Sample
from model.datasets.readers import ijba
from model.datasets.readers.ijba import Identification, TemplateFaces, Verification
from model.datasets.store import read_photo
from model.evaluate import metrics, regions
from model.evaluate.result import Figure, Result, Row, Table
from model.evaluate.run import FOUND_IOU, Run
from model.evaluate.templates_at import rank_rates, tpir_at_fpir
from model.identity import templates, triplets

FAR = (1e-3, 1e-2, 1e-1)
FPIR = (1e-2, 1e-1)
RANKS = (1, 10)
NAMES = (
    *(f"tar_at_far_{limit:g}" for limit in FAR),
    *(f"tpir_at_fpir_{limit:g}" for limit in FPIR),
    *(f"rank_{rank}" for rank in RANKS),
)
TPE = triplets.Config()
Descriptors = Mapping[str, metrics.Floats]
"""By a face's name; a face that has none is absent."""


@dataclass(frozen=True)
class Split:
    """Both protocols of one split."""

    number: int
    one: Verification
    many: Identification


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `ijba`."""
    root = run.root("ijba")
    numbers = ijba.SPLITS if run.limit is None else ijba.SPLITS[: run.limit]
    splits = [Split(n, ijba.read_verification(root, n), ijba.read_identification(root, n)) for n in numbers]
    faces = {face.name: face for split in splits for face in _faces(split)}
    ijba.check_photos(root, list(faces.values()))
    return score(splits, describe(run, list(faces.values())), TPE)


def _faces(split: Split) -> list[Sample]:
    one = split.one
    many = split.many
    parts = (one.train, one.templates, many.train, many.gallery, many.probes)
    return [face for part in parts for template in part for face in template.faces]


def describe(run: Run, faces: Sequence[Sample]) -> dict[str, metrics.Floats]:
    """Return a descriptor for each marked face, where there is one, by the face's name."""
    descriptors: dict[str, metrics.Floats] = {}
    lost: dict[str, list[Sample]] = {}
    for analyzed in run.analyze(faces, "ijba"):
        box = np.asarray(analyzed.sample.box, np.float64)[None]
        overlap = metrics.iou(analyzed.faces.boxes, box)[:, 0]
        if len(overlap) and overlap.max() >= FOUND_IOU:
            descriptors[analyzed.sample.name] = analyzed.faces.descriptor[int(overlap.argmax())]
        else:
            lost.setdefault(str(analyzed.sample.path), []).append(analyzed.sample)
    for members in tqdm(lost.values(), "ijba: marked boxes", unit="photo", disable=None, leave=False):
        boxes = np.stack([np.asarray(face.box, np.float32) for face in members])
        squares = boxes_.square(boxes)
        photo = read_photo(members[0].path)
        for face, square in zip(members, squares, strict=True):
            answer = regions.of_boxes(run.analyzer, photo, square[None], square[None])[0]
            if answer is not None and np.isfinite(answer.descriptor).all():
                descriptors[face.name] = answer.descriptor
    return descriptors


def score(splits: Sequence[Split], descriptors: Descriptors, config: triplets.Config = TPE) -> Result:
    """Return the protocol's result for the descriptors of the faces."""
    plain = np.zeros((len(splits), len(NAMES)))
    learnt = np.zeros((len(splits), len(NAMES)))
    for k, split in enumerate(splits):
        plain[k] = rates(split, descriptors, lambda vectors: vectors)
        one, many = (_projection(part, descriptors, config) for part in (split.one.train, split.many.train))
        learnt[k] = rates(split, descriptors, one, many)
    figures = []
    rows = list[Row]()
    for prefix, values in (("", plain), ("tpe_", learnt)):
        for name, mean, std in zip(NAMES, 100 * values.mean(axis=0), 100 * values.std(axis=0), strict=True):
            figures += [Figure(prefix + name, float(mean)), Figure(f"{prefix}{name}_std", float(std))]
        rows += [(f"{prefix}{s.number}", *(100 * v).tolist()) for s, v in zip(splits, values, strict=True)]
    every = {face.name: face for split in splits for face in _faces(split)}
    figures.append(Figure("faces_without_descriptor", len(every.keys() - descriptors.keys()), "faces"))
    photos = len({face.path for face in every.values()})
    return Result("ijba", photos, tuple(figures), (Table("Splits, %", ("split", *NAMES), rows),))


Projection = Callable[[metrics.Floats], metrics.Floats]


def rates(
    split: Split, descriptors: Descriptors, project: Projection, project_many: Projection | None = None
) -> metrics.Floats:
    """Return the seven figures [7] of one split, as shares; vectors [N, D] of faces are projected, then pooled."""
    pooled = {t.number: pool(t, descriptors, project) for t in split.one.templates}
    subject = {t.number: t.subject for t in split.one.templates}
    scores = np.array([_score(pooled[a], pooled[b]) for a, b in split.one.pairs])
    genuine = np.array([subject[a] == subject[b] for a, b in split.one.pairs])
    many = split.many
    probes, gallery = ([pool(t, descriptors, project_many or project) for t in p] for p in (many.probes, many.gallery))
    matrix = np.array([[_score(p, g) for g in gallery] for p in probes])
    people = {s: k for k, s in enumerate(sorted({t.subject for t in (*many.probes, *many.gallery)}))}
    probe_people, gallery_people = (np.array([people[t.subject] for t in part]) for part in (many.probes, many.gallery))
    return np.concatenate(
        [
            metrics.tar_at_far(scores, genuine, FAR),
            tpir_at_fpir(matrix, probe_people, gallery_people, FPIR),
            rank_rates(matrix, probe_people, gallery_people, RANKS),
        ]
    )


def pool(template: TemplateFaces, descriptors: Descriptors, project: Projection) -> metrics.Floats | None:
    """Return a template's unit vector [D]; None when none of its faces has a descriptor or they cancel out."""
    media: dict[str | None, list[metrics.Floats]] = {}
    for face in template.faces:
        if face.name in descriptors:
            media.setdefault(face.group, []).append(descriptors[face.name])
    if not media:
        return None
    try:
        return templates.pool([templates.Medium(project(np.stack(frames))) for frames in media.values()]).vector
    except ValueError:
        return None


def _score(first: metrics.Floats | None, second: metrics.Floats | None) -> float:
    return -1.0 if first is None or second is None else float(first @ second)


def _projection(train: Sequence[TemplateFaces], descriptors: Descriptors, config: triplets.Config) -> Projection:
    """Return the projection learnt on the training templates' faces. Raises ValueError for too few people or faces."""
    faces = {face.name: face for template in train for face in template.faces if face.name in descriptors}
    vectors = torch.from_numpy(np.stack([descriptors[name] for name in faces])).float()
    subjects = torch.from_numpy(np.unique([str(f.subject) for f in faces.values()], return_inverse=True)[1])
    # Fewer faces than dimensions have fewer principal components to start from.
    fitting = replace(config, dimension=min(config.dimension, *vectors.shape))
    weight = triplets.fit(vectors, subjects, fitting).numpy()
    return lambda rows: rows @ weight.T
