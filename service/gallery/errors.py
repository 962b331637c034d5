"""What can go wrong with the gallery, each with its HTTP status and stable code (see service.errors)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.errors import ServiceError


class CollectionNotFound(ServiceError):
    """There is no collection of that name."""

    status = 404
    code = "collection_not_found"
    title = "No such collection"


class SubjectNotFound(ServiceError):
    """The collection has no subject of that name."""

    status = 404
    code = "subject_not_found"
    title = "No such subject in this collection"


class SubjectExists(ServiceError):
    """The new name of a subject is taken."""

    status = 409
    code = "subject_exists"
    title = "There is a subject of that name already"


class MediumNotFound(ServiceError):
    """The subject has no such medium, or its photo was not kept."""

    status = 404
    code = "medium_not_found"
    title = "The subject has no such medium"


class NoTemplate(ServiceError):
    """The subject has no media yet, so there is nothing to compare with."""

    status = 409
    code = "no_template"
    title = "The subject has no media yet"


class CollectionExists(ServiceError):
    """The name of the new collection is taken."""

    status = 409
    code = "collection_exists"
    title = "There is a collection of that name already"


class IdentityConflict(ServiceError):
    """A face that was to be enrolled already belongs to another subject of the collection."""

    status = 409
    code = "identity_conflict"
    title = "The face belongs to another subject already"


class ModelMismatch(ServiceError):
    """The collection's templates were made with another model than the one that answers."""

    status = 409
    code = "model_mismatch"
    title = "The templates were made with another model"


class NotCalibrated(ServiceError):
    """The model has no calibration, so nobody can tell what its similarities mean."""

    status = 503
    code = "not_calibrated"
    title = "The model has no calibration"


class NoFace(ServiceError):
    """No face was found in a photo that must show one."""

    status = 422
    code = "no_face"
    title = "No face was found in the photo"


class SeveralFaces(ServiceError):
    """The photo shows more than the one face that the caller said there is."""

    status = 422
    code = "several_faces"
    title = "The photo shows several faces"

    def __init__(self, detail: str = "", boxes: Sequence[Mapping[str, float]] = ()) -> None:
        super().__init__(detail)
        if boxes:
            self.members = {"boxes": [dict(box) for box in boxes]}


class NoSuchFace(ServiceError):
    """The photo has fewer faces than the number that the caller chose."""

    status = 422
    code = "no_such_face"
    title = "The photo has no face of this number"


class LowQuality(ServiceError):
    """The quality of a face is too low to enrol it."""

    status = 422
    code = "low_quality"
    title = "The face is not good enough to enrol"


class InvalidName(ServiceError):
    """A name is empty, too long, or cannot be part of a URL's path."""

    status = 422
    code = "invalid_name"
    title = "Names are 1 to 256 bytes without / and control characters, not . or .."


class InvalidSubject(ServiceError):
    """Metadata or media cannot be stored."""

    status = 422
    code = "invalid_subject"
    title = "The subject's data are not valid"


class SubjectTooLarge(ServiceError):
    """A subject would have more media, frames or metadata than it may."""

    status = 413
    code = "subject_too_large"
    title = "Too much for one subject"


class TooManyFaces(ServiceError):
    """There are more faces than can be sorted at a time."""

    status = 413
    code = "too_many_faces"
    title = "Too many faces to sort at a time"


class SubjectDamaged(ServiceError):
    """What is stored of one subject was changed by somebody else than this service; other subjects are intact."""

    status = 500
    code = "subject_damaged"
    title = "What is stored of this subject is damaged"


class CollectionDamaged(ServiceError):
    """Somebody else than this service deleted the collection, or put back what had been deleted."""

    status = 500
    code = "collection_damaged"
    title = "Somebody deleted this collection or put it back without this service"


class InvalidExport(ServiceError):
    """The file is not an export, is damaged, or was encrypted with another passphrase."""

    status = 422
    code = "invalid_export"
    title = "Not an export of a collection, or not its passphrase"


class Busy(ServiceError):
    """Too many callers change one collection at the same time."""

    status = 503
    code = "gallery_busy"
    title = "Too many changes of one thing at once, try again"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Retry-After": "1"})


class StorageFull(ServiceError):
    """The storage has no room left; what was stored is intact."""

    status = 507
    code = "storage_full"
    title = "The gallery's storage is full"


class StorageUnavailable(ServiceError):
    """The storage cannot be reached or read."""

    status = 503
    code = "storage_unavailable"
    title = "The gallery's storage cannot be reached"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Retry-After": "2"})
