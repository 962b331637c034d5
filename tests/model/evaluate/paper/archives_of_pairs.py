"""The archives that say who is compared with whom: IJB-A with its splits of templates, LFW with its pairs."""

from pathlib import Path

from tests.model.evaluate.paper.archive_parts import box_of, face_points, photo, table, text

IJBA_COLUMNS = [
    "TEMPLATE_ID",
    "SUBJECT_ID",
    "FILE",
    "MEDIA_ID",
    "SIGHTING_ID",
    "FRAME",
    "FACE_X",
    "FACE_Y",
    "FACE_WIDTH",
    "FACE_HEIGHT",
    "RIGHT_EYE_X",
    "RIGHT_EYE_Y",
    "LEFT_EYE_X",
    "LEFT_EYE_Y",
    "NOSE_BASE_X",
    "NOSE_BASE_Y",
    "FACE_YAW",
    "FOREHEAD_VISIBLE",
    "EYES_VISIBLE",
    "NOSE_MOUTH_VISIBLE",
    "INDOOR",
    "GENDER",
    "SKIN_TONE",
    "AGE",
    "FACIAL_HAIR",
]


def ijba(root: Path, people: int = 6) -> None:
    """People 1 … 3 are learnt from, the others compared; the last is in no gallery. A template: a still, two frames."""
    numbers = iter(range(1, 10**6))
    templates: dict[int, list[list[tuple[int, list[list[object]]]]]] = {}
    for subject in range(1, people + 1):
        for copy in range(2):
            template, seed = next(numbers), subject * 10 + copy
            rows = []
            for k, (name, media) in enumerate(
                (
                    (f"img/{seed}.jpg", seed * 10),
                    (f"frame/{seed}_0.png", seed * 10 + 1),
                    (f"frame/{seed}_1.png", seed * 10 + 1),
                )
            ):
                points = face_points(seed * 3 + k)
                photo(root / "images" / name, points)
                x1, y1, x2, y2 = box_of(points).round(1).tolist()
                box = [x1, y1, round(x2 - x1, 1), round(y2 - y1, 1)]
                frame = "" if k == 0 else k - 1
                rows.append([template, subject, name, media, k, frame, *box, *[""] * 6, 0, 1, 1, 1, 1, 1, 3, 4, 0])
            templates.setdefault(subject, []).append((template, rows))
    learnt, tested = range(1, people // 2 + 1), range(people // 2 + 1, people + 1)

    def faces(subjects: range, copies: tuple[int, ...]) -> list[list[object]]:
        return [row for s in subjects for c in copies for row in templates[s][c][1]]

    for split in range(1, 11):
        one, many = root / f"IJB-A_11_sets/split{split}", root / f"IJB-A_1N_sets/split{split}"
        table(one / f"train_{split}.csv", IJBA_COLUMNS, faces(learnt, (0, 1)))
        table(one / f"verify_metadata_{split}.csv", IJBA_COLUMNS, faces(tested, (0, 1)))
        pairs = [f"{templates[a][0][0]},{templates[b][1][0]}" for a in tested for b in tested]
        text(one / f"verify_comparisons_{split}.csv", pairs)
        table(many / f"train_{split}.csv", IJBA_COLUMNS, faces(learnt, (0, 1)))
        table(many / f"search_gallery_{split}.csv", IJBA_COLUMNS, faces(tested[:-1], (0,)))
        table(many / f"search_probe_{split}.csv", IJBA_COLUMNS, faces(tested, (1,)))


def lfw_pairs(root: Path, folds: int = 10) -> None:
    """A genuine and an impostor pair a fold, photos in folders by name as LFW's archive has them."""
    lines = [f"{folds}\t1"]
    for fold in range(folds):
        for copy in (1, 2):
            photo(root / f"Person_{fold}" / f"Person_{fold}_{copy:04d}.jpg", face_points(fold * 2 + copy))
        lines += [f"Person_{fold}\t1\t2", f"Person_{fold}\t1\tPerson_{(fold + 1) % folds}\t2"]
    text(root / "pairs.txt", lines)
