"""What each protocol makes of perfect, random and empty predictions, and of cases worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model import boxes, landmarks
from model.datasets import Sample
from model.datasets.readers.lfw import Pair
from model.evaluate import celeba, detection, helen, lfw, mtfl, pose, utkface
from model.evaluate.result import Figure, Plot, Result, Table, results_rows
from model.evaluate.run import Analyzed, reference_box
from model.identity.projection import LearnedProjection
from model.structures import Faces

SIDE = 200
POINTS = landmarks.CANONICAL * 100 + 50  # one face in the middle of a 200 × 200 photo


def sample(name="a.png", **labels):
    return Sample("drawn", name, Path(name), "test", **labels)


def faces(points=POINTS[None], **changes):
    """Faces with these landmarks [N, 21, 2], everything else at a plain value unless given."""
    count = len(points)
    plain = Faces(
        boxes=boxes.from_landmarks(points),
        scores=np.full(count, 0.9),
        landmarks=points,
        visibility=np.ones((count, 21)),
        pose=np.zeros((count, 3)),
        smile=np.zeros(count),
        female=np.zeros(count),
        age=np.zeros(count),
        descriptor=np.eye(512)[np.zeros(count, int)],
    )
    return replace(plain, **{name: np.asarray(value, np.float32) for name, value in changes.items()})


def analyzed(sample_, found=None):
    return Analyzed(sample_, Faces.empty() if found is None else found, SIDE, SIDE)


def unit(*values):
    vector = np.zeros(512, np.float32)
    vector[: len(values)] = values
    return vector[None] / np.linalg.norm(vector)


class TestWhichFace:
    def test_the_large_and_central_one(self):
        corner = POINTS * 0.2
        shifted = POINTS + 40
        assert analyzed(sample(), faces(np.stack([corner, POINTS, shifted]))).main_face() == 1
        assert analyzed(sample()).main_face() is None

    def test_the_marked_one(self):
        marked = sample(landmarks=POINTS * 0.2)
        assert analyzed(marked, faces(np.stack([POINTS, POINTS * 0.2]))).marked_face() == 1
        assert analyzed(marked, faces()).marked_face() is None
        assert analyzed(marked).marked_face() is None
        partly = POINTS.copy()
        partly[landmarks.EARS[0]] = np.nan
        assert analyzed(sample(landmarks=partly), faces()).marked_face() is None


class TestLfw:
    def pairs(self, folds=10, each=4):
        """Each fold has `each` genuine pairs of one person's two photos and as many of two people."""
        pairs, people = [], []
        for fold in range(folds):
            for _ in range(each):
                name = f"p{len(people)}"
                people.append([sample(f"{name}_{k}", subject=name) for k in (1, 2)])
                pairs.append(Pair(*people[-1], genuine=True, fold=fold))
            firsts = people[-each:]
            pairs += [Pair(firsts[k][0], firsts[k - 1][1], genuine=False, fold=fold) for k in range(each)]
        return pairs, [s for person in people for s in person]

    def test_perfect(self):
        pairs, photos = self.pairs()
        who = {s.subject: i for i, s in enumerate(photos)}
        found = [analyzed(s, faces(descriptor=np.eye(512)[None, who[s.subject]])) for s in photos]
        result = lfw.score(pairs, found)
        assert (result["accuracy"], result["accuracy_std"], result["tar_at_far_0.001"], result["auc"]) == (
            100,
            0,
            100,
            100,
        )
        assert result["photos_without_face"] == 0

    def test_random_is_half_right(self):
        pairs, photos = self.pairs(each=50)
        rng = np.random.default_rng(0)
        result = lfw.score(pairs, [analyzed(s, faces(descriptor=unit(*rng.normal(size=512)))) for s in photos])
        assert result["accuracy"] == pytest.approx(50, abs=5)
        assert result["auc"] == pytest.approx(50, abs=6)

    def test_empty_says_different_to_every_pair(self):
        pairs, photos = self.pairs()
        result = lfw.score(pairs, [analyzed(s) for s in photos])
        assert result["accuracy"] == 50
        assert result["tar_at_far_0.1"] == 0
        assert (result["photos_without_face"], result["pairs_without_face"]) == (80, 80)

    def test_a_missing_face_costs_its_genuine_pair(self):
        pairs, photos = self.pairs()
        who = {s.subject: i for i, s in enumerate(photos)}
        found = [analyzed(s, faces(descriptor=np.eye(512)[None, who[s.subject]])) for s in photos]
        result = lfw.score(pairs, [analyzed(photos[0]), *found[1:]])
        assert result["accuracy"] == pytest.approx(100 - 100 / 80)
        assert (result["photos_without_face"], result["pairs_without_face"]) == (1, 2)

    def test_a_projection_that_forgets_who_it_is_is_half_right(self):
        pairs, photos = self.pairs()
        who = {s.subject: i for i, s in enumerate(photos)}
        found = [analyzed(s, faces(descriptor=np.eye(512)[None, who[s.subject]])) for s in photos]
        assert lfw.score(pairs, found, LearnedProjection(np.eye(512), np.zeros(512)))["tpe_accuracy"] == 100
        result = lfw.score(pairs, found, LearnedProjection(np.ones((1, 512)), np.zeros(512)))
        assert (result["accuracy"], result["tpe_accuracy"], result["tpe_tar_at_far_0.001"]) == (100, 50, 0)


class TestUtkface:
    SAMPLES = (sample(age=2.0, female=0.0, group="asian"), sample(age=30.0, female=1.0, group="white"))

    def test_by_hand(self):
        found = [
            analyzed(self.SAMPLES[0], faces(age=[5.0], female=[0.1])),
            analyzed(self.SAMPLES[1], faces(age=[29.0], female=[0.2])),
        ]
        result = utkface.score(found, mean_age=33.0)
        assert (result["age_mae"], result["gender_accuracy"]) == (2, 50)
        by_age, by_gender, by_race = result.tables
        assert by_age.rows == [("00–02", 1, 3.0, 100.0, 100.0), ("30–39", 1, 1.0, 0.0, 100.0)]
        assert [row[0] for row in by_gender.rows] == ["female", "male"]
        assert [row[0] for row in by_race.rows] == ["asian", "white"]

    def test_a_missed_face_is_the_mean_guess_and_wrong(self):
        found = [analyzed(self.SAMPLES[0]), analyzed(self.SAMPLES[1], faces(age=[30.0], female=[1.0]))]
        result = utkface.score(found, mean_age=33.0)
        assert (result["age_mae"], result["gender_accuracy"]) == (15.5, 50)
        assert (result["found_age_mae"], result["found_gender_accuracy"]) == (0, 100)
        assert result["photos_without_face"] == 1

    def test_empty(self):
        result = utkface.score([analyzed(s) for s in self.SAMPLES], mean_age=33.0)
        assert (result["age_mae"], result["gender_accuracy"]) == (17, 0)
        assert np.isnan(result["found_age_mae"])
        assert result.as_json()["figures"]["found_age_mae"] is None


class TestCeleba:
    def photos(self, descriptor=lambda i: unit(*np.eye(4)[i % 4]), teacher=None):
        """Eight photos of four people, female and smiling by turns, everything found right but for the descriptor."""
        found = []
        for i in range(8):
            labels = {"subject": str(i % 4), "female": float(i % 2), "smile": float(i < 4)}
            truth = sample(f"{i}.png", embedding=None if teacher is None else teacher(i), **labels)
            shown = faces(female=[i % 2], smile=[0.9 if i < 4 else 0.1], descriptor=descriptor(i))
            found.append(analyzed(truth, shown))
        return found

    def test_perfect(self):
        result = celeba.score(self.photos())
        assert (result["gender_accuracy"], result["smile_accuracy"], result["tar_at_far_0.0001"]) == (100, 100, 100)
        assert (result["pairs"], result["photos_without_face"]) == (28, 0)
        with pytest.raises(KeyError):
            result["teacher_tar_at_far_0.001"]

    def test_empty_is_wrong(self):
        result = celeba.score([replace(p, faces=Faces.empty()) for p in self.photos()])
        assert (result["gender_accuracy"], result["smile_accuracy"], result["tar_at_far_0.01"]) == (0, 0, 0)
        assert result["photos_without_face"] == 8

    def test_the_teacher_is_judged_where_it_found_a_face(self):
        def teacher(i):  # takes all for one person, has not found photo 0
            return np.ones(128) if i else None

        result = celeba.score(self.photos(teacher=teacher))
        assert (result["same_photos_tar_at_far_0.001"], result["teacher_tar_at_far_0.001"]) == (100, 0)

    def test_a_projection_has_figures_of_its_own(self):
        def teacher(i):
            return np.ones(128) if i else None

        forgetful = LearnedProjection(np.ones((1, 512)), np.zeros(512))
        result = celeba.score(self.photos(teacher=teacher), forgetful)
        assert (result["tar_at_far_0.001"], result["tpe_tar_at_far_0.001"]) == (100, 0)
        assert result["same_photos_tpe_tar_at_far_0.01"] == 0

    def test_the_teachers_network_has_figures_of_its_own(self):
        photos = [replace(self.photos()[0], faces=Faces.empty()), *self.photos()[1:]]
        result = celeba.score(photos, teacher=np.eye(4)[[i % 4 for i in range(8)]])
        assert result["teacher_network_tar_at_far_0.001"] == 75  # of the pair without a face nothing is known
        with pytest.raises(KeyError):
            result["same_photos_teacher_network_tar_at_far_0.001"]  # no photo has a label of the teacher's

    def test_one_photo_has_no_pairs(self):
        assert celeba.score(self.photos()[:1])["gender_accuracy"] == 100


class TestMtfl:
    def test_by_hand(self):
        """One right, one with a wrong smile, one whose marked face was missed though another was found."""
        truth = sample(landmarks=POINTS, smile=1.0, female=0.0)
        far = POINTS[None] * 0.2
        found = [faces(smile=[0.9]), faces(smile=[0.1]), faces(points=far, smile=[0.9])]
        result = mtfl.score([analyzed(truth, f) for f in found])
        assert result["smile_accuracy"] == pytest.approx(100 / 3)
        assert result["gender_accuracy"] == pytest.approx(200 / 3)
        assert result["faces_missed"] == 1


class TestHelen:
    TRUTH = sample(landmarks=POINTS)

    def test_perfect_and_empty(self):
        result = helen.score([analyzed(self.TRUTH, faces())])
        assert (result["nme"], result["nme_with_misses"], result["faces_under_5_percent"]) == (0, 0, 100)
        result = helen.score([analyzed(self.TRUTH), analyzed(self.TRUTH)])
        assert np.isnan(result["nme"])
        assert (result["nme_with_misses"], result["faces_missed"], result["faces_under_5_percent"]) == (100, 2, 0)

    def test_by_hand(self):
        side = float(np.sqrt((reference_box(self.TRUTH)[0, 2:] - reference_box(self.TRUTH)[0, :2]).prod()))
        moved = POINTS.copy()
        moved[0] += np.array([3.0, 4.0], np.float32)  # 5 px on one of 19 points
        moved[landmarks.EARS[0]] -= 1  # ears are not counted
        result = helen.score([analyzed(self.TRUTH, faces(moved[None])), analyzed(self.TRUTH)])
        assert result["nme"] == pytest.approx(100 * 5 / 19 / side, rel=1e-5)
        assert result["nme_with_misses"] == pytest.approx((100 * 5 / 19 / side + 100) / 2, rel=1e-5)
        assert result["faces_under_5_percent"] == 50
        assert result.tables[0].rows[0] == ("left_brow_outer", pytest.approx(500 / side, rel=1e-5))
        assert len(result.tables[0].rows) == 19

    def test_random_landmarks_are_far_off(self):
        found = faces(np.random.default_rng(0).random((1, 21, 2)) * 100 + 50)
        assert helen.score([analyzed(self.TRUTH, found)])["nme"] > 20


class TestPose:
    def labelled(self, *angles):
        return sample(landmarks=POINTS, pose=np.array(angles, np.float32))

    def test_by_hand(self):
        found = [
            analyzed(self.labelled(0, 0, 40), faces(pose=[[1.0, 2.0, 20.0]])),
            analyzed(self.labelled(179, 0, -5), faces(pose=[[-179.0, 4.0, -5.0]])),
            analyzed(self.labelled(0, 0, 0)),
        ]
        classed = [
            analyzed(sample(group=str(c)), faces(pose=[[0, 0, y]])) for c, y in [(1, -30), (2, 5), (3, 0), (5, 9)]
        ]
        result = pose.score(found, classed)
        assert (result["roll_mae"], result["pitch_mae"], result["yaw_mae"]) == (1.5, 3, 10)
        assert result["yaw_within_15"] == pytest.approx(100 / 3)
        assert (result["faces_missed"], result["mtfl_yaw_class_1"], result["mtfl_side_right"]) == (
            1,
            -30,
            pytest.approx(200 / 3),
        )
        assert [row[:2] for row in result.tables[1].rows] == [("00–15°", 1), ("30–45°", 1)]

    def test_empty(self):
        result = pose.score([analyzed(self.labelled(0, 0, 0))], [analyzed(sample(group="3"))])
        assert np.isnan(result["yaw_mae"])
        assert (result["yaw_within_15"], result["faces_missed"], result["mtfl_faces_missed"]) == (0, 1, 1)


class TestDetection:
    MARKED = sample(landmarks=POINTS)
    SMALL = POINTS * 0.2

    def sets(self, helen=(), celeba=(), negatives=(), negatives_objects=()):
        return {"helen": helen, "celeba": celeba, "negatives": negatives, "negatives_objects": negatives_objects}

    def empty(self, count):
        return [analyzed(sample(faces=0)) for _ in range(count)]

    def test_perfect(self):
        photos = self.sets([analyzed(self.MARKED, faces())], [analyzed(self.MARKED, faces())], *[self.empty(2)] * 2)
        result = detection.score(photos, photos)
        names = ("recall", "recall_helen", "recall_celeba", "ap", "recall_at_0.05_0.1", "recall_at_0.01_0.03")
        assert [result[name] for name in names] == [100] * 6
        assert result["false_alarms_negatives"] == 0

    def test_nothing_found(self):
        photos = self.sets([analyzed(self.MARKED)], [analyzed(self.MARKED)], self.empty(2), self.empty(2))
        result = detection.score(photos, photos)
        assert (result["recall"], result["ap"], result["recall_at_0.05_0.1"]) == (0, 0, 0)

    def test_extra_faces_are_wrong_only_where_all_faces_are_marked(self):
        both = faces(np.stack([POINTS, self.SMALL]), scores=[0.5, 0.9])
        crowd = replace(self.MARKED, faces=2)
        photos = self.sets([analyzed(self.MARKED, both)], [analyzed(crowd, both)], self.empty(1), self.empty(1))
        assert detection.score(photos, photos)["ap"] == 100
        photos = self.sets([analyzed(self.MARKED, both)], [analyzed(self.MARKED, both)], self.empty(1), self.empty(1))
        result = detection.score(photos, photos)
        # one wrong at 0.9, then two right at 0.5: precision 2/3 at every recall
        assert result["ap"] == pytest.approx(200 / 3)
        assert result.tables[0].rows[1] == ("celeba", 1, 1, 1, 1, 0)

    def test_photos_without_reference_are_left_out(self):
        unmarked = analyzed(sample(), faces())
        photos = self.sets([analyzed(self.MARKED, faces())], [unmarked], self.empty(1), self.empty(1))
        with pytest.raises(ValueError, match="celeba"):
            detection.score(photos, photos)
        photos = self.sets(
            [analyzed(self.MARKED, faces())], [unmarked, analyzed(self.MARKED)], self.empty(1), self.empty(1)
        )
        assert detection.score(photos, photos)["recall"] == 50

    def test_recall_at_false_alarms(self):
        # ten photos without a face, one false alarm at 0.6: 0.1 a photo is allowed there, 0.03 is not
        alarm = analyzed(sample(faces=0), faces(scores=[0.6]))
        marked = [analyzed(self.MARKED, faces(scores=[0.5])), analyzed(self.MARKED, faces(scores=[0.8]))]
        low = self.sets(marked[:1], marked[1:], self.empty(10), [alarm, *self.empty(9)])
        result = detection.score(low, low)
        assert (result["recall"], result["false_alarms_negatives_objects"]) == (100, 0.1)
        assert (result["recall_at_0.05_0.1"], result["recall_at_0.01_0.03"]) == (100, 50)


class TestResult:
    RESULT = Result(
        "drawn",
        3,
        (Figure("accuracy", 98.7654), Figure("missed", 2, "photos"), Figure("nothing", float("nan"))),
        (Table("By hand", ("who", "value"), [("a", 1.5), ("b", float("nan"))]),),
        (Plot("line", "x", "y", {"one": (np.array([0.1, 1.0]), np.array([0.0, 1.0]))}, log_x=True),),
    )

    def test_text(self):
        text = self.RESULT.text()
        assert "98.77 %" in text
        assert "2 photos" in text
        assert "| a   |  1.50 |" in text

    def test_json_has_no_nan(self):
        read = json.loads(json.dumps(self.RESULT.as_json(), allow_nan=False))
        assert read["figures"] == {"accuracy": 98.7654, "missed": 2, "nothing": None}
        assert read["tables"]["By hand"]["rows"] == [["a", 1.5], ["b", None]]

    def test_rows_for_the_results_page(self):
        rows = results_rows([self.RESULT], ["python -m model.evaluate drawn"], "2026-01-02", "0123456789abcdef")
        assert len(rows.splitlines()) == 5
        assert "0123456789ab |" in rows.splitlines()[2]

    def test_plots_are_png_files(self, tmp_path):
        [path] = self.RESULT.draw(tmp_path / "plots")
        assert path.name == "drawn_line.png"
        assert path.read_bytes().startswith(b"\x89PNG")
