"""Photos in files sorted by the people in them: faces with vectors and quality → clusters → folders of links or copies.

The faces are sorted as POST /v1/clusters sorts them.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from model.identity.clusters import Clustering
from model.runtime import quality
from model.runtime.pipeline import Analyzer
from service.commands import CommandError, complain
from service.commands.analysis import decode_ahead
from service.commands.photos import PhotoArgument
from service.config import Settings
from service.errors import ServiceError
from service.gallery import Vector
from service.gallery.clustering import cluster_people
from service.gallery.scoring import Scoring
from service.worker.batching import batches
from service.worker.results import load_identity, model_card


@dataclass
class PhotoFaces:
    """Photos that could be read, and their faces: the photo of each face, its vector [D] and its quality."""

    scoring: Scoring
    photos: list[PhotoArgument] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    vectors: list[Vector] = field(default_factory=list, repr=False)
    quality: list[float] = field(default_factory=list)
    failures: int = 0


def describe_photos(photos: Sequence[PhotoArgument], analyzer: Analyzer, settings: Settings) -> PhotoFaces:
    """Find and describe all faces; report photos that cannot be used. Raises CommandError for an uncalibrated model."""
    projection = load_identity(analyzer, settings)
    photo_faces = PhotoFaces(Scoring.of(model_card(analyzer, projection)))
    try:
        photo_faces.scoring.calibrated()
    except ServiceError as error:
        raise CommandError(error.detail) from error
    with tqdm(total=len(photos), unit="photo", disable=None, file=sys.stderr) as bar:
        for batch in batches(decode_ahead(photos, settings), settings.batch_images, settings.batch_pixels):
            for item in batch:
                if item.image is None:
                    photo_faces.failures += 1
                    with tqdm.external_write_mode(file=sys.stderr):
                        complain(f"{item.photo.name}: {item.error}")
            readable = [(item.photo, item.image) for item in batch if item.image is not None]
            results = analyzer.analyze([image for _, image in readable])
            for (photo, image), faces in zip(readable, results, strict=True):
                photo_faces.owners += [len(photo_faces.photos)] * len(faces)
                photo_faces.photos.append(photo)
                photo_faces.vectors += list(projection.vectors(faces.descriptor))
                photo_faces.quality += [each.overall for each in quality.assess(image, faces)]
            bar.update(len(batch))
    return photo_faces


def sort_into_folders(photo_faces: PhotoFaces, out: Path, settings: Settings, *, copy: bool) -> dict[str, int]:
    """Link or copy the photos into folders and return how many each has. Raises OSError, CommandError."""
    if len(photo_faces.vectors) > settings.cluster_faces:
        raise CommandError(
            f"{len(photo_faces.vectors):,} faces, at most {settings.cluster_faces:,} (FACE_CLUSTER_FACES) can be "
            "sorted at a time: sort parts of the folder"
        )
    try:
        clustering = cluster_people(
            photo_faces.scoring, photo_faces.vectors, photo_faces.owners, photo_faces.quality, settings.min_quality
        )
    except ServiceError as error:
        raise CommandError(error.detail) from error
    folders = {name: photos for name, photos in _folders(photo_faces, clustering).items() if photos}
    for name, photos in folders.items():
        for number in photos:
            _place(photo_faces.photos[number], out / name, copy=copy)
    return {name: len(photos) for name, photos in folders.items()}


def _folders(photo_faces: PhotoFaces, clustering: Clustering) -> dict[str, list[int]]:
    """Return the numbers of the photos of each folder, by its name."""
    digits = max(3, len(str(len(clustering.clusters))))

    def photos_of(faces: Sequence[int]) -> list[int]:
        return sorted({photo_faces.owners[face] for face in faces})

    people = {
        f"person-{number:0{digits}d}": photos_of(each.faces) for number, each in enumerate(clustering.clusters, start=1)
    }
    nobody = sorted(set(range(len(photo_faces.photos))) - set(photo_faces.owners))
    return people | {"single": photos_of(clustering.single), "unsure": photos_of(clustering.left_out), "nobody": nobody}


def _place(photo: PhotoArgument, folder: Path, *, copy: bool) -> None:
    """Link or copy a photo below a folder, under its path in the folder that the user named."""
    target = folder / photo.relative
    target.parent.mkdir(parents=True, exist_ok=True)
    if copy:
        shutil.copy2(photo.name, target)
    else:
        target.symlink_to(Path(photo.name).resolve())
