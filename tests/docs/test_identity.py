"""What docs/identity.md promises, done as written."""

import json
import re
import subprocess
from pathlib import Path

from service import keys
from service.config import Settings
from service.errors import ServiceError
from service.gallery import errors
from tests.service.gallery.served import people_served, photo

SECTION = (Path(__file__).resolve().parents[2] / "docs" / "identity.md").read_text()


def test_the_five_calls_work_as_written(tmp_path: Path):
    block = re.search(r"```sh\n(.*?)```", SECTION, re.DOTALL)
    assert block
    first, *calls = block[1].splitlines()
    assert len(calls) == 5
    for name, take in (("ada1.jpg", 1), ("ada2.jpg", 2), ("who.jpg", 3)):
        (tmp_path / name).write_bytes(photo(1, take=take))
    answers = []
    with people_served(Settings(data_dir=tmp_path / "data")) as served:
        for call in calls:
            words = f"{first.replace('http://127.0.0.1:8000', served.url)}\n" + call.replace("curl", "curl -sf", 1)
            done = subprocess.run(["bash", "-c", words], cwd=tmp_path, capture_output=True, check=True)
            answers.append(json.loads(done.stdout))
    assert answers[0]["name"] == "staff"
    assert len(answers[1]["subject"]["media"]) == 2
    assert answers[2]["matches"][0]["subject"] == "ada"
    assert answers[2]["matches"][0]["matched"]
    assert answers[3]["matched"]
    assert answers[4]["media"] == 2


def test_a_deletion_answers_with_what_the_page_says(tmp_path: Path):
    assert "The answer is a receipt; of a medium it is the subject" in " ".join(SECTION.split())
    with people_served(Settings(data_dir=tmp_path)) as served:
        paths = served.client.get("/openapi.json").json()["paths"]
    kinds = {}
    for path in ("", "/subjects/{subject}", "/subjects/{subject}/media/{medium}"):
        answer = paths["/v1/collections/{collection}" + path]["delete"]["responses"]["200"]
        kinds[path.rpartition("/")[2]] = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert kinds == {"": "ReceiptResponse", "{subject}": "ReceiptResponse", "{medium}": "SubjectResponse"}


def test_a_role_includes_another_exactly_where_the_table_says_so():
    assert "no role includes another, except `admin`" in " ".join(SECTION.split())
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", SECTION, re.MULTILINE)
    assert {role for role, _ in rows} == set(keys.ROLES)
    for role in keys.ROLES:
        key = keys.Key(id="0" * 12, label="", roles=frozenset({role}), created=0)
        included = {other for other in keys.ROLES if key.grants(other)}
        assert included == (set(keys.ROLES) if role == "admin" else {role})


def test_every_code_stands_in_the_table_with_its_status():
    for module in (errors, keys):
        for kind in vars(module).values():
            ours = isinstance(kind, type) and issubclass(kind, ServiceError) and kind.__module__ == module.__name__
            if ours:
                row = rf"^\| .*{kind.status}.* \| .*`{kind.code}`"
                assert re.search(row, SECTION, re.MULTILINE), kind.code
