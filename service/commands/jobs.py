"""`allinone-face jobs submit|wait|results|delete`: many photos, analyzed when the server has room."""

from __future__ import annotations

import argparse
import json
import sys

from service.client.calls import JOB_RESULTS_AT_ONCE
from service.commands import CommandError, add_action, add_actions, complain
from service.commands.photos import find_photos, photo_argument, read_photos
from service.commands.remote import add_server_options, open_client
from service.config import Settings
from service.schemas.jobs import JobItem, JobResponse, JobStatus


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `jobs`."""
    actions = add_actions(parser)
    action = add_action(
        actions,
        "submit",
        submit,
        "submit photos and folders of photos as one job, and print its id",
        "allinone-face jobs submit holiday/ portrait.jpg",
        "id=$(allinone-face jobs submit holiday/) && allinone-face jobs wait $id > faces.jsonl",
        "id=$(allinone-face jobs submit --cluster holiday/) && allinone-face jobs wait $id | tail -1 > people.json",
    )
    action.add_argument(
        "photos", nargs="+", type=photo_argument, metavar="PHOTO", help="photos or folders; - is standard input"
    )
    action.add_argument("--descriptor", action="store_true", help="with the 512-d descriptor of each face")
    action.add_argument(
        "--cluster", action="store_true", help="sort the faces into people: the last line of the results has `clusters`"
    )
    action.add_argument("--webhook", metavar="URL", help="called at the end; the server must list its host")
    add_server_options(action, answers_json=False)
    text = "wait for a job, then print a JSON line for each photo; exit status 1 when a photo failed"
    action = add_action(actions, "wait", wait, text, "allinone-face jobs wait 4f1c… --timeout 600 > faces.jsonl")
    action.add_argument("--timeout", type=float, metavar="SECONDS", help="stop waiting after this long (never)")
    _add_id(action)
    text = "print a JSON line for each photo that is done, without waiting"
    _add_id(add_action(actions, "results", results, text, "allinone-face jobs results 4f1c… | head"))
    text = "stop a job and delete it with its photos and results"
    _add_id(add_action(actions, "delete", delete, text, "allinone-face jobs delete 4f1c…"))


def _add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the job's id, as `submit` prints it")
    add_server_options(parser, answers_json=False)


def submit(settings: Settings, arguments: argparse.Namespace) -> int:
    """Send the photos with their names, and write the job's id to standard output."""
    scan = find_photos(arguments.photos)
    photos = dict(zip((photo.name for photo in scan.photos), read_photos(scan.photos), strict=True))
    with open_client(settings) as client:
        job = client.submit_job(
            photos,
            descriptor=arguments.descriptor or None,
            cluster=arguments.cluster or None,
            webhook=arguments.webhook,
        )
    complain(f"{job.total} photos submitted; wait for them with: allinone-face jobs wait {job.id}")
    sys.stdout.write(f"{job.id}\n")
    return 1 if scan.unreadable else 0


def wait(settings: Settings, arguments: argparse.Namespace) -> int:
    """Wait for a job and write its results; return 1 when a photo failed, or when the faces could not be sorted."""
    with open_client(settings) as client:
        try:
            job = client.wait_for_job(arguments.id, arguments.timeout)
        except TimeoutError as error:
            raise CommandError(str(error)) from error
    _write(job.results)
    _write_clusters(job)
    _complain_of_failures(job, settings.url)
    return 1 if job.failed or job.clusters_error else 0


def results(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write the results that exist by now, without waiting for the others."""
    with open_client(settings) as client:
        first_part = job = client.job(arguments.id, start=0, limit=JOB_RESULTS_AT_ONCE)
        _write(job.results)
        for start in range(JOB_RESULTS_AT_ONCE, job.total, JOB_RESULTS_AT_ONCE):
            job = client.job(arguments.id, start=start, limit=JOB_RESULTS_AT_ONCE)
            _write(job.results)
    _write_clusters(first_part)
    if job.status != "done":
        complain(f"the job is not done: {job.done} of {job.total} photos")
    return 0


def delete(settings: Settings, arguments: argparse.Namespace) -> int:
    """Stop a job and delete it with its photos and results."""
    with open_client(settings) as client:
        client.delete_job(arguments.id)
    return 0


def _write(items: list[JobItem]) -> None:
    for item in items:
        sys.stdout.write(json.dumps(item.model_dump(mode="json", exclude_none=True)) + "\n")


def _write_clusters(job: JobResponse) -> None:
    """Write a line with the people whom the faces were sorted into, where the job was to sort them."""
    if job.clusters is not None:
        clusters = job.clusters.model_dump(mode="json", exclude_none=True)
        sys.stdout.write(json.dumps({"clusters": clusters}) + "\n")
    if job.clusters_error is not None:
        complain(f"the faces could not be sorted: {job.clusters_error.detail}")


def _complain_of_failures(job: JobStatus, url: str) -> None:
    if job.failed:
        complain(f"{job.failed} of {job.total} photos failed at {url}; their lines have an `error`")
