"""Every archive in miniature, in its original layout: drawn faces, the real folders, file names and file formats."""

import csv
import sqlite3
from pathlib import Path

import cv2
import h5py
import numpy as np
from scipy.io import savemat

from model import landmarks

SIDE = 120
FIVE = (7, 10, 14, 17, 19)


def face_points(seed: int, side: int = SIDE, width: float | None = None) -> np.ndarray:
    """Landmarks [21, 2] of the drawn face number `seed`, some 60 px wide."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(55, 65) if width is None else width
    return (landmarks.CANONICAL * size + rng.uniform(0.2, 0.3, 2) * side).astype(np.float32)


def turned_points(seed: int, roll: float, pitch: float, yaw: float) -> np.ndarray:
    """The same face with its nose moved as the angles (degrees, our signs) have it, then turned by roll."""
    points = face_points(seed)
    eyes = points[[7, 10]].mean(axis=0)
    points[13:16] += np.float32([20 * np.sin(np.deg2rad(yaw)), -12 * np.sin(np.deg2rad(pitch))])
    angle = np.deg2rad(roll)
    turn = np.float32([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (points - eyes) @ turn + eyes


def photo(path: Path, points: np.ndarray, side: int = SIDE) -> None:
    """Grey with a coloured dot at every landmark, as JPEG (or what the name says)."""
    image = np.full((side, side, 3), 60, np.uint8)
    for index, (x, y) in enumerate(points):
        if np.isfinite((x, y)).all():
            colour = (12 * index, 255 - 12 * index, 128 if index % 2 else 250)
            cv2.circle(image, (int(x * 16 - 8), int(y * 16 - 8)), 40, colour, -1, cv2.LINE_AA, 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def box_of(points: np.ndarray) -> np.ndarray:
    """Extent of the landmarks, xyxy."""
    return np.concatenate([np.nanmin(points, axis=0), np.nanmax(points, axis=0)])


def table(path: Path, columns: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


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


def cell(items: list[object]) -> np.ndarray:
    """A MATLAB cell row."""
    array = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        array[0, i] = item
    return array


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


AFLW_SCHEMA = """
CREATE TABLE Faces(face_id INTEGER PRIMARY KEY, file_id TEXT, db_id TEXT);
CREATE TABLE FaceImages(image_id INTEGER PRIMARY KEY, db_id TEXT, file_id TEXT, filepath TEXT, bw INTEGER,
 width INTEGER, height INTEGER);
CREATE TABLE FaceRect(face_id INTEGER PRIMARY KEY, x INTEGER, y INTEGER, w INTEGER, h INTEGER, annot_type_id INTEGER);
CREATE TABLE FaceEllipse(face_id INTEGER PRIMARY KEY, x REAL, y REAL, ra REAL, rb REAL, theta REAL,
 annot_type_id INTEGER, upsidedown INTEGER);
CREATE TABLE FacePose(face_id INTEGER PRIMARY KEY, roll REAL, pitch REAL, yaw REAL, annot_type_id INTEGER);
CREATE TABLE FeatureCoords(face_id INTEGER, feature_id INTEGER, x REAL, y REAL, annot_type_id INTEGER);
CREATE TABLE FeatureCoordTypes(feature_id INTEGER PRIMARY KEY, descr TEXT, code TEXT, x REAL, y REAL, z REAL);
CREATE TABLE FaceMetaData(face_id INTEGER PRIMARY KEY, sex TEXT, occluded INTEGER, glasses INTEGER, bw INTEGER,
 annot_type_id INTEGER);
"""


def aflw_angles(number: int) -> tuple[float, float, float]:
    """Roll, pitch, yaw in degrees, our signs, of face `number`: yaws go round all bins."""
    return (number * 7 % 21) - 10.0, (number * 5 % 15) - 7.0, ((number * 37) % 180) - 90.0


def aflw(root: Path, count: int = 24, two_in_first: bool = True, signs: tuple[int, int, int] = (-1, 1, -1)) -> None:
    """Face i has a hidden ear; the second photo holds one more face; the angles in the file have the signs given."""
    (root / "data").mkdir(parents=True)
    database = sqlite3.connect(root / "data" / "aflw.sqlite")
    database.executescript(AFLW_SCHEMA)
    for number, name in enumerate(landmarks.NAMES, start=1):
        database.execute("INSERT INTO FeatureCoordTypes VALUES (?,?,?,0,0,0)", (number, name, name[:3]))
    for i in range(count + int(two_in_first)):
        face, image = 39341 + i, min(i, count - 1)
        file_id, filepath = f"image{image:05d}.jpg", f"{image % 3}/image{image:05d}.jpg"
        roll, pitch, yaw = aflw_angles(i)
        points = turned_points(i, roll, pitch, yaw)
        if image == i:
            photo(root / "data" / "flickr" / filepath, points)
            image_row = (i, "flickr", file_id, filepath, 0, SIDE, SIDE)
            database.execute("INSERT INTO FaceImages VALUES (?,?,?,?,?,?,?)", image_row)
        x1, y1, x2, y2 = box_of(points).round().astype(int).tolist()
        radians = np.deg2rad((roll, pitch, yaw)) * signs
        database.execute("INSERT INTO Faces VALUES (?,?,'flickr')", (face, file_id))
        if i != 3:  # this one has an ellipse only
            database.execute("INSERT INTO FaceRect VALUES (?,?,?,?,?,1)", (face, x1, y1, x2 - x1, y2 - y1))
        ellipse = (face, (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2)
        database.execute("INSERT INTO FaceEllipse VALUES (?,?,?,?,?,0.0,1,0)", ellipse)
        database.execute("INSERT INTO FacePose VALUES (?,?,?,?,1)", (face, *radians.tolist()))
        database.execute("INSERT INTO FaceMetaData VALUES (?,?,0,0,0,1)", (face, "mf"[i % 2]))
        hidden = 12 if yaw > 0 else 16
        for k, (x, y) in enumerate(points.tolist()):
            if k != hidden:
                database.execute("INSERT INTO FeatureCoords VALUES (?,?,?,?,1)", (face, k + 1, x, y))
    database.commit()
    database.close()


def fddb_ellipse(seed: int) -> np.ndarray:
    """Major and minor radius, angle, centre of the drawn face `seed`."""
    x1, y1, x2, y2 = box_of(face_points(seed))
    return np.array([0.62 * (y2 - y1), 0.52 * (x2 - x1), 1.4, (x1 + x2) / 2, (y1 + y2) / 2 - 3])


def fddb(root: Path, each: int = 2) -> None:
    for fold in range(1, 11):
        names, lines = [], []
        for i in range(each):
            seed = fold * each + i
            name = f"2002/07/{fold:02d}/big/img_{seed}"
            photo(root / "originalPics" / f"{name}.jpg", face_points(seed))
            names.append(name)
            lines += [name, "1", " ".join(f"{v:.6f}" for v in fddb_ellipse(seed)) + "  1"]
        text(root / f"FDDB-folds/FDDB-fold-{fold:02d}.txt", names)
        text(root / f"FDDB-folds/FDDB-fold-{fold:02d}-ellipseList.txt", lines)


SIX = [7, 10, 14, 17, 18, 19]


def afw_faces(count: int) -> list[tuple[str, list[np.ndarray], list[np.ndarray], list[np.ndarray]]]:
    """Photo's name, boxes [2, 2], poses (yaw, pitch, roll; yaw counted the other way than ours), points [6, 2]."""
    faces = []
    for i in range(count):
        yaw = 15.0 * (i % 7 - 3)
        points = turned_points(i, 0, 0, yaw)
        x1, y1, x2, y2 = box_of(points).round()
        six = points[SIX].astype(np.float64) + 0.5
        if abs(yaw) > 40:
            six[1 if yaw > 0 else 0] = np.nan
        box = np.array([[x1 + 1, y1 + 1], [x2, y2]], np.float64)
        faces.append((f"{134212 + i}_1.jpg", [box], [np.array([[-yaw, 0.0, 0.0]])], [six]))
    return faces


def afw(root: Path, count: int = 14, new: bool = True) -> None:
    """`new` writes MATLAB 7.3, as the archive has it, else version 5. The first photo's face is marked twice over."""
    faces = afw_faces(count)
    name, boxes, poses, points = faces[0]
    faces[0] = (name, [*boxes, boxes[0] + 30], poses * 2, [*points, points[0] + 30])
    for i, (file_name, *_) in enumerate(faces):
        photo(root / "testimages" / file_name, turned_points(i, 0, 0, 15.0 * (i % 7 - 3)))
    path = root / "testimages" / "anno.mat"
    if not new:
        rows = np.empty((count, 4), object)
        for i, (file_name, *cells) in enumerate(faces):
            rows[i, 0] = file_name
            for k, items in enumerate(cells, start=1):
                rows[i, k] = cell(items)
        savemat(path, {"anno": rows})
        return
    with h5py.File(path, "w", userblock_size=512) as file:
        hidden, numbers = file.create_group("#refs#"), iter(range(10**6))

        def store(value: np.ndarray) -> h5py.Reference:
            return hidden.create_dataset(f"r{next(numbers)}", data=value).ref

        anno = file.create_dataset("anno", (4, count), h5py.ref_dtype)
        for i, (file_name, *cells) in enumerate(faces):
            anno[0, i] = store(np.array([[ord(c)] for c in file_name], np.uint16))
            for k, items in enumerate(cells, start=1):
                references = np.array([[store(np.asarray(item).T)] for item in items], h5py.ref_dtype)
                anno[k, i] = store(references)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 1 00:00:00 2012 HDF5 schema 1.00 ."
    with path.open("r+b") as raw:
        raw.write(header.ljust(116) + bytes(8) + b"\x00\x02IM")


def pascal_faces(root: Path, count: int = 6, as_text: bool = False) -> None:
    """Photo 1 has a second face, marked difficult."""
    entries = []
    for i in range(count):
        points = face_points(i)
        name = f"2008_{i:06d}.jpg"
        photo(root / "images" / name, points)
        x1, y1, x2, y2 = box_of(points).round()
        objects = [[x1 + 1, y1 + 1, x2, y2, 0, 0]] + [[5.0, 6.0, 20.0, 24.0, 0, 1]] * (i == 1)
        entries.append((name, np.array(objects)))
    if as_text:
        for name, objects in entries:
            lines = [
                f"Face {x1:.0f} {y1:.0f} {x2 - x1 + 1:.0f} {y2 - y1 + 1:.0f} 0 0 0 0 0 {difficult:.0f} 0"
                for x1, y1, x2, y2, _, difficult in objects
            ]
            text(root / "annotations" / f"{Path(name).stem}.txt", ["% bbGt version=3", *lines])
        return
    structure = np.zeros((1, count), dtype=[("imgname", object), ("objects", object)])
    for i, (name, objects) in enumerate(entries):
        structure[0, i] = (f"JPEGImages/{name}", objects)
    savemat(root / "Annotations_Face_PASCALLayout_large_fixed.mat", {"Annotations": structure})


def fotw(root: Path, count: int = 6) -> None:
    for part in ("train", "valid"):
        rows = []
        for i in range(count):
            points = face_points(i)
            photo(root / part / f"{part}_{i}.jpg", points)
            x1, y1, x2, y2 = box_of(points).round(1)
            rows.append([f"{part}_{i}.jpg", x1, y1, round(x2 - x1, 1), round(y2 - y1, 1), (0, 1, 2)[i % 3], i % 2])
        columns = ["image_name", "bbox_x", "bbox_y", "bbox_width", "bbox_height", "gender", "smile"]
        table(root / f"{part}_gt.csv", columns, rows)


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


def sixty_eight(points: np.ndarray) -> np.ndarray:
    """68 points of which landmarks.from_68 makes these 21."""
    marks = np.tile(points[14], (68, 1))
    single = {group[0] for group in landmarks._FROM_68 if len(group) == 1}
    for index, group in sorted(enumerate(landmarks._FROM_68), key=lambda item: len(item[1])):
        free = [m for m in group if len(group) == 1 or m not in single]
        fixed = sum(marks[m] for m in group if m not in free)
        marks[free] = (points[index] * len(group) - fixed) / len(free)
    return marks


def pts(root: Path) -> None:
    """300-W: two training folders, a test folder, ibug, a mirrored copy and a photo without points."""
    members = {}
    for i, name in enumerate(
        ("afw/1_1.jpg", "helen/trainset/2_1.jpg", "helen/testset/3_1.jpg", "ibug/image_4.png", "afw/1_1_mirror.jpg")
    ):
        points = face_points(i)
        photo(root / name, points)
        members[name] = points
        marks = sixty_eight(points + np.float32(0.5))
        lines = ["version: 1", "n_points:  68", "{", *(f"{x:.4f} {y:.4f}" for x, y in marks), "}"]
        text((root / name).with_suffix(".pts"), lines)
    photo(root / "afw" / "unmarked.jpg", face_points(9))


BUILD = {
    "casia": casia,
    "morph": morph,
    "imdb_wiki": imdb_wiki,
    "adience": adience,
    "celeba": celeba,
    "aflw": aflw,
    "fddb": fddb,
    "afw": afw,
    "pascal_faces": pascal_faces,
    "fotw": fotw,
    "lap": lap,
    "fgnet": fgnet,
    "ijba": ijba,
    "lfw": lfw_pairs,
}


def build_all(root: Path) -> Path:
    """Every archive below one folder, as --data wants them."""
    for name, build in BUILD.items():
        build(root / name)
    return root
