"""Every archive in miniature, in its original layout, files and formats; those that mark where faces are stand here."""

import sqlite3
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat

from model import landmarks
from tests.model.evaluate.paper.archive_parts import SIDE, box_of, cell, face_points, photo, table, text, turned_points
from tests.model.evaluate.paper.archives_of_pairs import ijba, lfw_pairs
from tests.model.evaluate.paper.archives_of_people import adience, casia, celeba, fgnet, imdb_wiki, lap, morph

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


def sixty_eight(points: np.ndarray) -> np.ndarray:
    """68 points of which landmarks.from_68 makes these 21."""
    marks = np.tile(points[14], (68, 1))
    single = {group[0] for group in landmarks.FROM_68 if len(group) == 1}
    for index, group in sorted(enumerate(landmarks.FROM_68), key=lambda item: len(item[1])):
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
