"""Settings: strict, from the environment, explained."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.config import Settings, explain


def test_environment_and_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACE_MAX_BYTES", "5MiB")
    monkeypatch.setenv("FACE_CORS_ORIGINS", "https://a.example, http://localhost:3000")
    monkeypatch.setenv("FACE_DATA_DIR", "~/faces")
    settings = Settings(port=9000)
    assert settings.max_bytes == 5 << 20
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    assert settings.data_dir == Path.home() / "faces"
    assert settings.port == 9000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FACE_PORT", "99999"),
        ("FACE_PORT", "http"),
        ("FACE_DEVICE", "gpu"),
        ("FACE_MAX_IMAGES", "0"),
        ("FACE_MAX_BYTES", "many"),
        ("FACE_CORS_ORIGINS", "*"),
        ("FACE_CORS_ORIGINS", "https://a.example/"),
        ("FACE_PROPOSALS", "magic"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain(caught.value).startswith(f"{name}: ")
