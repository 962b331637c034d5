"""Settings: strict, from the environment, explained."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.config import Settings
from service.environment import PREFIX, explain

FLOATS = [
    f"{PREFIX}{name.upper()}"
    for name, field in Settings.model_fields.items()
    if field.annotation in (float, float | None)
]


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
        ("FACE_CORS_ORIGINS", "https://a.example/path"),
        ("FACE_CORS_ORIGINS", "https://*.example"),
        ("FACE_IMAGE_HOSTS", "https://photos.example"),
        ("FACE_IMAGE_HOSTS", "photos.example/holiday"),
        ("FACE_WEBHOOK_HOSTS", "ok.example, *.example.org"),
        ("FACE_MODEL_DIGEST", "e88c"),
        ("FACE_PROPOSALS", "magic"),
        *((name, value) for name in FLOATS for value in ("inf", "nan", "1e400")),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain(caught.value).startswith(f"{name}: ")
    assert "Value error" not in explain(caught.value)


def test_hosts_and_origins_are_as_browsers_and_urls_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACE_IMAGE_HOSTS", "Photos.example, 10.0.0.1:8443, ::1")
    monkeypatch.setenv("FACE_CORS_ORIGINS", "https://Shop.example:8443")
    settings = Settings()
    assert settings.image_hosts == ("photos.example", "10.0.0.1:8443", "::1")
    assert settings.cors_origins == ("https://shop.example:8443",)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FACE_API_KEY", "FACE_API_KEYS"),
        ("FACE_MAX_BYTE", "FACE_MAX_BYTES"),
        ("FACE_HOSTS", "FACE_HOST"),
        ("FACE_WEBHOOK_HOST", "FACE_WEBHOOK_HOSTS"),
        ("face_redis_uri", "FACE_REDIS_URL"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "on")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain(caught.value) == f"{name} is no setting, did you mean {meant}?"


def test_variables_of_others_are_no_misspelt_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FACE_TEST_IMAGES", "FACE_SHARED_DIR", "FACE_CACHE_DIR", "FACE_SERVICE_HOST", "FACEBOOK_KEY"):
        monkeypatch.setenv(name, "x")
    Settings()


def test_a_variable_like_no_setting_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACE_QWXZJKV", "1")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert explain(caught.value) == "FACE_QWXZJKV is no setting; docs/settings.md lists all"
