"""Names and ids in the paths of calls: each stays one part of its path, so that no call reaches anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.client import FaceError, calls
from service.client.call import Call

NO_NAME = ("", ".", "..", "../ada", "a/../..", "/")
BY_NAME: tuple[Callable[[str], Call[Any]], ...] = (
    calls.delete_collection,
    lambda name: calls.delete_subject("staff", name),
    lambda name: calls.delete_medium("staff", "ada", name),
    lambda name: calls.medium_photo("staff", "ada", name),
    calls.job,
    calls.delete_job,
    calls.rotate_key,
    calls.revoke_key,
)


@pytest.mark.parametrize("name", NO_NAME)
@pytest.mark.parametrize("call", BY_NAME)
def test_no_name_leads_out_of_its_place(call: Callable[[str], Call[Any]], name: str) -> None:
    """An HTTP client makes `DELETE …/subjects/ada/media/..` of what was to delete one medium: ada would be gone."""
    with pytest.raises(FaceError) as refused:
        call(name)
    assert refused.value.code == "invalid_name"


@pytest.mark.parametrize("call", BY_NAME)
def test_what_stands_in_a_name_is_quoted(call: Callable[[str], Call[Any]]) -> None:
    described = call("a?b#c %2e")
    assert "a%3Fb%23c%20%252e" in described.path
