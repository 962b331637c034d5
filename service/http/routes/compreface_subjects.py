"""CompreFace 1.2: the calls about subjects, mapped to ours. Those about faces are in routes/compreface.py."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.gallery.checks import clean_name
from service.gallery.gallery import Gallery
from service.gallery.renaming import rename_subject
from service.http.compat import JsonObject, stored_faces
from service.http.compat.compreface import NamedSubject, read_json, service_collection
from service.http.compat.endpoints import RECOGNITION
from service.http.compat.errors import SubjectExists
from service.http.compat.faces import make_collection
from service.http.gallery_access import in_gallery_thread, receipt_response, scoring_for

router = APIRouter(include_in_schema=False)


@router.get(RECOGNITION + "/subjects")
async def list_subjects(request: Request) -> JsonObject:
    """List the names of all subjects."""
    collection = service_collection(request)
    return {"subjects": await in_gallery_thread(request, stored_faces.subject_names, collection)}


@router.post(RECOGNITION + "/subjects", status_code=201)
async def add_subject(request: Request) -> JsonObject:
    """Make a subject without faces."""
    collection = service_collection(request)
    name = (await read_json(request, NamedSubject)).subject
    request.state.audited |= {"subject": clean_name(name)}
    await make_collection(request, collection, await scoring_for(request, collection))
    _, new = await in_gallery_thread(request, Gallery.put_subject, collection, name)
    if not new:
        raise SubjectExists
    return {"subject": name}


@router.delete(RECOGNITION + "/subjects")
async def delete_subjects(request: Request) -> JsonObject:
    """Delete all subjects of the collection with all their faces."""
    receipts = await in_gallery_thread(request, stored_faces.delete_all_subjects, service_collection(request))
    return {"deleted": len(receipts)}


@router.put(RECOGNITION + "/subjects/{subject}")
async def rename(request: Request, subject: str) -> JsonObject:
    """Give a subject another name; one that has the name already gets its faces."""
    collection = service_collection(request)
    name = (await read_json(request, NamedSubject)).subject
    await in_gallery_thread(request, rename_subject, collection, subject, name, merge=True)
    return {"updated": True}


@router.delete(RECOGNITION + "/subjects/{subject}")
async def delete_subject(request: Request, subject: str) -> JsonObject:
    """Delete a subject with all its faces."""
    collection = service_collection(request)
    receipt_response(request, await in_gallery_thread(request, Gallery.delete_subject, collection, subject))
    return {"subject": subject}
