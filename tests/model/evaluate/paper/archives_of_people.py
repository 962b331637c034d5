"""The archives that say who people are, of what gender, how old: CASIA, MORPH, IMDB-WIKI, Adience, CelebA and more."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from tests.model.evaluate.paper.archive_parts import box_of, cell, face_points, photo, table, text

FIVE = (7, 10, 14, 17, 19)


def casia(root: Path, people: int = 4, each: int = 3) -> None:
    for person in range(people):
        for number in range(each):
            seed = person * each + number
            photo(root / "CASIA-WebFace" / f"{45 + person:07d}" / f"{number + 1:03d}.jpg", face_points(seed))
    text(root / "genders.txt", [f"{45 + person:07d} {'fm'[person % 2]}" for person in range(people)])


def morph(root: Path, count: int = 8) -> None:
    columns = ["id_num", "picture_num", "dob", "doa", "race", "gender"]
    columns += ["facial_hair", "age", "age_diff", "glasses", "photo"]
    rows = []
    for i in range(count):
        name = f"{9055 + i // 2:06d}_{i % 2}{'MF'[i // 2 % 2]}{20 + 3 * i}.JPG"
        photo(root / "Album2" / name, face_points(i))
        gender, age = "MF"[i // 2 % 2], 20 + 3 * i
        born = f"{2005 - age}-01-01"
        rows.append(
            [9055 + i // 2, i % 2, born, "2005-06-01", "WB"[i % 2], gender, "NULL", age, 0, 0, f"Album2/{name}"]
        )
    table(root / "morph_2008_nonCommercial.csv", columns, rows)


def imdb_wiki(root: Path, count: int = 6) -> None:
    """The last three rows of each part are no good: no face, two faces, no gender."""
    for part in ("imdb", "wiki"):
        paths, boxes, total = [], [], count + 3
        for i in range(total):
            points = face_points(i)
            name = f"{i % 100:02d}/nm{i:07d}_rm{i}_1970-{1 + i % 12:02d}-15_2000.jpg"
            photo(root / part / name, points)
            x1, y1, x2, y2 = box_of(points)
            paths.append(name)
            boxes.append(np.array([[x1 + 1, y1 + 1, x2, y2]]))
        born = [719529 + 31 * i for i in range(total)]  # from 1 January 1970 on
        gender = [float(i % 2) for i in range(count)] + [0.0, 1.0, np.nan]
        score = [3.0 + i for i in range(count)] + [-np.inf, 4.0, 4.0]
        second = [np.nan] * count + [np.nan, 2.5, np.nan]
        structure = {
            "dob": np.array([born], np.float64),
            "photo_taken": np.array([[2000 + i for i in range(total)]], np.float64),
            "full_path": cell(paths),
            "gender": np.array([gender]),
            "name": cell([f"Person {i}" for i in range(total)]),
            "face_location": cell(boxes),
            "face_score": np.array([score]),
            "second_face_score": np.array([second]),
        }
        if part == "imdb":
            structure |= {"celeb_names": cell(["Person"]), "celeb_id": np.ones((1, total))}
        savemat(root / part / f"{part}.mat", {part: structure})


ADIENCE_AGES = ("(25, 32)", "(0, 2)", "(60, 100)", "None", "35", "(8, 23)")


def adience(root: Path, each: int = 2) -> None:
    columns = (
        "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score"
    )
    for fold in range(5):
        lines = [columns]
        for i in range(each):
            number = fold * each + i
            user, image, face = f"30601258@N0{number % 4}", f"{10399646885 + number}_67c7d20df9_o.jpg", number + 1
            photo(root / "aligned" / user / f"landmark_aligned_face.{face}.{image}", face_points(number))
            age, gender = ADIENCE_AGES[number % len(ADIENCE_AGES)], ("f", "m", "u", "")[number % 4]
            lines.append("\t".join([user, image, str(face), age, gender, "10\t20\t60\t60\t0\t0\t53"]))
        text(root / f"fold_{fold}_data.txt", lines)


def celeba(root: Path, count: int = 16) -> None:
    names = [f"{i + 1:06d}.jpg" for i in range(count)]
    attributes, boxes, points, people, parts = [], [], [], [], []
    for i, name in enumerate(names):
        face = face_points(i)
        photo(root / "Img" / "img_celeba" / name, face)
        male, smiling = (1 if i % 2 else -1), (1 if i % 3 == 0 else -1)
        attributes.append(f"{name} -1 {male:2d} {smiling:2d}  1")
        x1, y1, x2, y2 = box_of(face).round().astype(int)
        boxes.append(f"{name}   {x1}  {y1}  {x2 - x1}  {y2 - y1}")
        points.append(f"{name} " + " ".join(f"{v:4.0f}" for v in face[list(FIVE)].ravel()))
        people.append(f"{name} {100 + i // 2}")
        parts.append(f"{name} {0 if i < count // 2 else 1 if i < 3 * count // 4 else 2}")
    heads = " ".join(f"{n}_{a}" for n in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for a in "xy")
    text(root / "Anno/list_attr_celeba.txt", [str(count), "Attractive Male Smiling Young ", *attributes])
    text(root / "Anno/list_bbox_celeba.txt", [str(count), "image_id x_1 y_1 width height", *boxes])
    text(root / "Anno/list_landmarks_celeba.txt", [str(count), heads, *points])
    text(root / "Anno/identity_CelebA.txt", people)
    text(root / "Eval/list_eval_partition.txt", parts)


def lap(root: Path, count: int = 5) -> None:
    for part in ("Train", "Validation"):
        lines = []
        for i in range(count):
            photo(root / part / f"image_{i + 1}.jpg", face_points(i))
            lines.append(f"image_{i + 1}.jpg;{20 + 7 * i};{2.5 + 0.5 * i}")
        text(root / f"{part}.csv", lines)


def fgnet(root: Path, people: int = 4) -> None:
    for person in range(people):
        for i, age in enumerate((2, 18, 18, 44)):
            letter = "ab"[i - 1] if age == 18 else ""
            points = face_points(person * 4 + i)
            photo(root / "images" / f"{person + 1:03d}A{age:02d}{letter}.JPG", points)
            marks = np.resize(points, (68, 2))
            lines = ["version: 1", "n_points: 68", "{", *(f"{x:.3f} {y:.3f}" for x, y in marks), "}"]
            text(root / "points" / f"{person + 1:03d}a{age:02d}{letter}.pts", lines)
