"""The paper's tables and figures as data: our figure, theirs beside it, and the best of others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One figure of a protocol and what was published; None where the paper has a curve only."""

    title: str
    protocol: str
    figure: str
    paper: str | None
    others: str = ""
    better: str = "higher"


@dataclass(frozen=True)
class Part:
    """A table or figure of the paper."""

    title: str
    lines: tuple[Line, ...]


_IJBA = (
    ("TAR at FAR 0.001", "tar_at_far_0.001", "81.3 (Sankaranarayanan et al.)"),
    ("TAR at FAR 0.01", "tar_at_far_0.01", "93.9 (Crosswhite et al.)"),
    ("TAR at FAR 0.1", "tar_at_far_0.1", "96.7 (Chen et al.)"),
    ("TPIR at FPIR 0.01", "tpir_at_fpir_0.01", "77.4 (Crosswhite et al.)"),
    ("TPIR at FPIR 0.1", "tpir_at_fpir_0.1", "88.2 (Crosswhite et al.)"),
    ("rank 1", "rank_1", "93.2 (Sankaranarayanan et al.)"),
    ("rank 10", "rank_10", "98.6 (Crosswhite et al.)"),
)
"""Measures of Table V, and the best other figure."""


def _ijba(prefix: str, paper: tuple[str, ...]) -> tuple[Line, ...]:
    return tuple(
        Line(title, "ijba", prefix + figure, value, others)
        for (title, figure, others), value in zip(_IJBA, paper, strict=True)
    )


PARTS = (
    Part(
        "Fig. 6: face detection",
        (
            Line("AFW, average precision %", "afw", "ap", "98.5"),
            Line("PASCAL faces, average precision %", "pascal", "ap", "95.01"),
            Line("FDDB, discrete rate % at 500 false positives", "fddb", "discrete_at_500", None),
            Line("FDDB, continuous rate % at 500 false positives", "fddb", "continuous_at_500", None),
        ),
    ),
    Part(
        "Table II: landmarks on AFLW, 21 points, NME %",
        (
            Line("yaw [0°, 30°]", "aflw", "nme_0_30", "2.84", "3.93 (HyperFace)", "lower"),
            Line("yaw [30°, 60°]", "aflw", "nme_30_60", "2.94", "4.14 (HyperFace)", "lower"),
            Line("yaw [60°, 90°]", "aflw", "nme_60_90", "3.09", "4.71 (HyperFace)", "lower"),
            Line("mean", "aflw", "nme", "2.96", "4.26 (HyperFace)", "lower"),
            Line("std", "aflw", "nme_std", "0.13", "0.41 (HyperFace)", "lower"),
        ),
    ),
    Part(
        "Fig. 7: landmarks and pose on AFW",
        (
            Line("faces with less than 5 % NME, %", "afw", "faces_under_5_percent", "> 95.5"),
            Line("yaw within ±15°, all faces, %", "afw", "yaw_within_15", "> 99"),
            Line("yaw within ±15°, faces above 150 px, %", "afw", "yaw_within_15_large", "> 99"),
        ),
    ),
    Part(
        "Table III: gender and smile, accuracy %",
        (
            Line("CelebA, gender", "celeba-attributes", "gender_accuracy", "99", "98 (LNets+ANet)"),
            Line("CelebA, smile", "celeba-attributes", "smile_accuracy", "93", "98 (Walk & Learn)"),
            Line("Faces of the World, gender", "fotw", "gender_accuracy", "93.12", "91.66 (SIAT MMLAB)"),
            Line("Faces of the World, smile", "fotw", "smile_accuracy", "90.83", "89.34 (SIAT MMLAB)"),
        ),
    ),
    Part(
        "Table IV: age",
        (
            Line("LAP 2015, error", "lap", "error", "0.293", "0.292 (ICT-VIPL); people: 0.34", "lower"),
            Line("FG-NET, mean absolute error in years", "fgnet", "mae", "2.00", "3.17 (El Dib 2010)", "lower"),
        ),
    ),
    Part(
        "Tables V and VI: IJB-A, cosine, %",
        _ijba("", ("78.7 (4)", "89.3 (1)", "96.8 (0.6)", "70.4 (4)", "83.6 (1.4)", "94.1 (0.8)", "98.8 (0.3)")),
    ),
    Part(
        "Tables V and VI: IJB-A, with triplet probabilistic embedding, %",
        _ijba("tpe_", ("82.3 (2)", "92.2 (1)", "97.6 (0.4)", "79.2 (2)", "88.7 (1.4)", "94.7 (0.8)", "98.8 (0.3)")),
    ),
    Part(
        "Not in the paper: today's benchmarks",
        (
            Line("LFW, accuracy %", "lfw", "accuracy", None, "99.83 (InsightFace buffalo_l)"),
            Line("UTKFace test, age, mean absolute error", "utkface", "age_mae", None, "4.65 (deepface)", "lower"),
            Line("UTKFace test, gender %", "utkface", "gender_accuracy", None),
            Line("CelebA test photos of ours, gender %", "celeba", "gender_accuracy", None),
            Line("CelebA test photos of ours, smile %", "celeba", "smile_accuracy", None),
            Line("HELEN test, 19 points, NME %", "helen", "nme", None, "", "lower"),
        ),
    ),
)
