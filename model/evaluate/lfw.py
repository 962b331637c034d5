"""LFW verification (Huang et al. 2007): the official 6,000 pairs in 10 folds, through the whole pipeline.

Each photo goes through the Analyzer's own detection, landmarks, alignment and descriptor (mean of chip and mirror); the
face taken is Analyzed.main_face. A pair's score is the cosine of its two descriptors, −1 when a photo yielded no face:
such a pair counts as 'different', it is never dropped. Accuracy of a fold is taken at the threshold that is best on the
other nine; its mean and standard deviation over the folds are reported. TAR@FAR is over all pairs at once, without
interpolation; with a checkpoint that has a triplet probabilistic embedding, `tpe_` figures are those of its cosine. The
descriptors have seen outside training data, so this is LFW's 'unrestricted, labelled outside data'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model.datasets.readers.lfw import Pair, read_pairs
from model.evaluate import metrics
from model.evaluate.result import Figure, Plot, Result, Table
from model.evaluate.run import Analyzed, Run
from model.identity.projection import LearnedProjection

FAR = (1e-3, 1e-2, 1e-1)


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without `lfw_pairs` or, below --data, `lfw`: the archive and its pairs.txt."""
    original = run.data is not None and (run.data / "lfw").is_dir() and not (run.data / "lfw_pairs").is_dir()
    pairs = run.some(read_pairs(run.root("lfw" if original else "lfw_pairs")))
    samples = {s.name: s for pair in pairs for s in (pair.first, pair.second)}
    return score(pairs, run.analyze(list(samples.values()), "lfw"), run.projection)


def score(pairs: Sequence[Pair], photos: Sequence[Analyzed], projection: LearnedProjection | None = None) -> Result:
    """Return the protocol's result for the analyzed photos of the pairs."""
    descriptors = {}
    for photo in photos:
        face = photo.main_face()
        if face is not None:
            descriptors[photo.sample.name] = photo.faces.descriptor[face]
    scores = _similarities(pairs, descriptors)
    genuine = np.array([p.genuine for p in pairs])
    folds = np.array([p.fold for p in pairs])

    accuracies, thresholds = metrics.fold_accuracies(scores, genuine, folds)
    far, tar, _ = metrics.roc(scores, genuine)
    rates = metrics.tar_at_far(scores, genuine, FAR)
    undescribed = sum(p.first.name not in descriptors or p.second.name not in descriptors for p in pairs)
    figures = (
        Figure("accuracy", 100 * float(accuracies.mean())),
        Figure("accuracy_std", 100 * float(accuracies.std())),
        *(Figure(f"tar_at_far_{limit:g}", 100 * float(rate)) for limit, rate in zip(FAR, rates, strict=True)),
        Figure("auc", 100 * metrics.area_under_roc(scores, genuine)),
        *(_projected(pairs, descriptors, projection) if projection is not None else ()),
        Figure("photos_without_face", len(photos) - len(descriptors), "photos"),
        Figure("pairs_without_face", undescribed, "pairs"),
    )
    rows = [
        (int(fold), 100 * float(accuracy), float(threshold))
        for fold, accuracy, threshold in zip(np.unique(folds), accuracies, thresholds, strict=True)
    ]
    return Result(
        "lfw",
        len(photos),
        figures,
        (Table("Folds", ("fold", "accuracy %", "threshold"), rows),),
        (Plot("roc", "false accept rate", "true accept rate", {"all pairs": (far, tar)}, log_x=True),),
    )


def _projected(
    pairs: Sequence[Pair], descriptors: Mapping[str, metrics.Floats], projection: LearnedProjection
) -> tuple[Figure, ...]:
    """Return the figures of the projected descriptors' cosine."""
    units = {name: projection.project_unit(vector[None])[0] for name, vector in descriptors.items()}
    scores = _similarities(pairs, units)
    genuine = np.array([p.genuine for p in pairs])
    folds = np.array([p.fold for p in pairs])
    accuracy = 100 * float(metrics.fold_accuracies(scores, genuine, folds)[0].mean())
    rate = 100 * float(metrics.tar_at_far(scores, genuine, (1e-3,))[0])
    return Figure("tpe_accuracy", accuracy), Figure("tpe_tar_at_far_0.001", rate)


def _similarities(pairs: Sequence[Pair], vectors: Mapping[str, metrics.Floats]) -> metrics.Floats:
    return np.array([_similarity(vectors.get(p.first.name), vectors.get(p.second.name)) for p in pairs])


def _similarity(first: metrics.Floats | None, second: metrics.Floats | None) -> float:
    return -1.0 if first is None or second is None else float(first @ second)
