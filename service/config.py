"""Settings: environment variables `FACE_…`, overridden by the command line; an argument everywhere, never a global.

docs/settings.md is generated from the descriptions here by `allinone-face settings --markdown`. This module imports
neither numpy nor the web framework: the client reads its settings here too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import ByteSize, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.environment import PREFIX, unknown_variables

Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]
Hosts = Annotated[tuple[str, ...], NoDecode]


COMPATIBLE = ("compreface", "rekognition")
"""APIs of other products that can be served."""


class Settings(BaseSettings):
    """Everything that can be set, with the environment variable `FACE_` + the name in capitals.

    Sizes take units ("32MiB"); durations are seconds. Raises pydantic's ValidationError for a bad value and for a
    variable `FACE_…` that is no setting.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, allow_inf_nan=False)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="path prefix under which a reverse proxy serves the API, like `/faces`; kept or stripped by it",
    )
    data_dir: Path = Field(
        Path("~/.local/share/allinone-face"),
        description="folder of the gallery, the master key and the audit log; made when it is needed",
    )
    redis_url: str | None = Field(
        None, description="Redis that API processes and workers share; without it everything runs in one process"
    )
    redis_password_file: Path | None = Field(
        None, description="file with the password of the user in `FACE_REDIS_URL` (`redis://worker@redis:6379/0`)"
    )
    compat: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="APIs of other products that are served too, separated by commas: `compreface`, `rekognition`",
    )
    cors_origins: Hosts = Field(
        (), description="origins of other sites whose pages may call the API, separated by commas"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level that is logged: `debug`, `info`, `warning` or `error`"
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="port of a listener of its own for `/metrics`, `/livez` and `/readyz`, which asks for no API key",
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="OpenTelemetry traces over HTTP, like `http://collector:4318/v1/traces`; needs the extra `otel`",
    )
    shutdown_grace: float = Field(
        30, gt=0, description="seconds for requests under way when the process is told to stop"
    )

    api_keys: Literal["auto", "on", "off"] = Field(
        "auto", description="whether callers need an API key: `on`, `off`, or `auto`: on unless FACE_HOST is loopback"
    )
    master_key: SecretStr | None = Field(
        None,
        description="32 bytes in base64 that encrypt the gallery's keys; after a comma older ones, which still decrypt",
    )
    master_key_file: Path | None = Field(
        None, description="file with the master key; without both, `master.key` in the data folder, made when missing"
    )
    queue_key: SecretStr | None = Field(
        None, description="32 bytes in base64 that encrypt photos and results in Redis, the same for APIs and workers"
    )
    queue_key_file: Path | None = Field(
        None, description="file with the queue key; without both, a key derived from the master key, where one is set"
    )
    image_hosts: Hosts = Field(
        (), description="hosts or host:port that images may be fetched from by URL, separated by commas"
    )
    webhook_hosts: Hosts = Field(
        (),
        description="hosts or host:port that finished jobs may call, separated by commas; needs `FACE_WEBHOOK_SECRET`",
    )
    webhook_secret: SecretStr | None = Field(None, description="secret that signs what webhooks are sent")
    audit_bytes: ByteSize = Field(
        ByteSize(64 << 20),
        ge=1 << 16,
        description="size at which the audit log's file is renamed and a new one begun",
    )
    audit_files: int = Field(16, ge=1, description="renamed audit log files that are kept; the oldest are deleted")

    head_timeout: float = Field(
        10,
        gt=0,
        description="seconds for the head of a request to arrive, counted from the connection or its first byte",
    )
    upload_timeout: float = Field(60, gt=0, description="seconds for the body of a request to arrive")
    timeout: float = Field(30, gt=0, description="seconds from the arrival of the body to the answer")
    max_connections: int = Field(1024, gt=0, description="connections that a process serves; further ones get a 503")
    body_bytes: ByteSize = Field(
        ByteSize(512 << 20), gt=0, description="bytes of all request bodies that a process holds at a time; beyond, 429"
    )
    max_request_bytes: ByteSize = Field(
        ByteSize(64 << 20), gt=0, description="bytes of one request's body with photos; other bodies may have 256 KiB"
    )
    max_images: int = Field(16, gt=0, description="images in one request")
    max_bytes: ByteSize = Field(ByteSize(32 << 20), gt=0, description="compressed bytes of one image")
    max_pixels: int = Field(100_000_000, gt=0, description="pixels of one image, width × height of its header")
    max_decoded: ByteSize = Field(
        ByteSize(512 << 20), gt=0, description="bytes that decoding one image may hold in memory; beyond, 413"
    )

    min_quality: float = Field(0.25, ge=0, le=1, description="lowest quality of a face that is enrolled, 0–1")
    far: float = Field(
        1e-3,
        gt=0,
        le=0.01,
        description="false accept rate at which a comparison 1:1 says `matched`; callers may be stricter",
    )
    cluster_faces: int = Field(
        10_000, gt=0, le=20_000, description="faces that one request may have sorted into people"
    )
    fpir: float = Field(
        0.01, gt=0, le=0.5, description="share of searches for strangers that may match somebody in 1:N"
    )
    probes_per_minute: int = Field(
        60, gt=0, description="comparisons with one subject, and searches of one collection, by keys that only `verify`"
    )
    searchers: int = Field(
        0, ge=0, le=1000, description="parts that `allinone-face searcher` processes hold; 0: each API process searches"
    )

    weights: Path | None = Field(None, description="checkpoint of the model; without it the one that ships")
    calibration: Path | None = Field(
        None, description="thresholds measured on your own photos by `allinone-face calibrate`"
    )
    old_weights: Path | None = Field(
        None, description="`serve` only: checkpoint of a second model, for collections that it made"
    )
    old_calibration: Path | None = Field(None, description="thresholds of the second model, where they are your own")
    model_digest: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="digest of the only model that may answer; without it the one that most workers have",
    )
    device: Device = Field("cpu", description="where the model runs: `cpu`, `cuda` or `cuda:N`")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="`float32`, `bfloat16`, `float16`, or `auto`: float32, so that templates are the same on all "
        "machines",
    )
    engine: Literal["auto", "openvino", "torch"] = Field(
        "auto",
        description="what runs the model: `openvino`, `torch`, or `auto`: OpenVINO on a CPU where it is installed, "
        "else PyTorch",
    )
    threads: int = Field(0, ge=0, description="processor cores that the model uses; 0: all")
    proposals: Literal["dense", "selective-search"] = Field(
        "dense",
        description="how regions that may hold a face are proposed: `dense`, or as the paper does: `selective-search`",
    )
    decode_threads: int = Field(2, gt=0, description="threads of a worker that decode images")
    batch_images: int = Field(16, gt=0, description="images in one call of the model")
    batch_pixels: int = Field(
        16_000_000, gt=0, description="pixels of the images in one call; a larger image goes alone"
    )
    batch_linger: float = Field(
        0.004, ge=0, le=0.1, description="longest wait of a batch, in seconds, for images that are still being decoded"
    )

    video_frames: int = Field(
        32, gt=0, le=256, description="frames of a video that are analyzed, evenly spread over it"
    )
    video_seconds: float = Field(600, gt=0, description="longest video, in seconds of its playing time; beyond, 413")
    video_decoded: int = Field(20_000, gt=0, description="frames that a video may have; beyond, 413")
    video_pixels: int = Field(
        9_000_000, gt=0, description="pixels of a video's frame, width × height; beyond, 413. 4K has 8,294,400"
    )

    video_at_once: float = Field(
        30, ge=0, description="playing time, in seconds, beyond which `POST /v1/videos` answers with a job"
    )
    video_timeout: float = Field(60, gt=0, description="seconds in which the frames of a job's video are decoded")

    queue_size: int = Field(256, gt=0, description="images accepted and not yet answered; beyond, 429")
    queue_bytes: ByteSize = Field(
        ByteSize(512 << 20), gt=0, description="compressed bytes of these images; beyond, 429"
    )
    queue_lease: float = Field(
        5, ge=0.2, description="seconds after which the images of a silent worker are given to another"
    )
    queue_deliveries: int = Field(
        3, gt=0, description="workers that may be lost with an image before it is put aside as a dead letter"
    )
    job_images: int = Field(1000, gt=0, description="photos in one asynchronous job")
    job_bytes: ByteSize = Field(ByteSize(256 << 20), gt=0, description="unpacked bytes of the files of a job's archive")
    job_images_at_once: int = Field(
        8, gt=0, description="photos of an API process's jobs that are in the queue at a time"
    )
    jobs_open: int = Field(8, gt=0, description="asynchronous jobs that are accepted and not done; beyond, 429")
    jobs_bytes: ByteSize = Field(
        ByteSize(1 << 30), gt=0, description="bytes of the photos and results of all jobs together; beyond, 429"
    )
    jobs_key_bytes: ByteSize = Field(
        ByteSize(512 << 20), gt=0, description="bytes of the photos and results of one API key's jobs; beyond, 429"
    )
    jobs_ttl: float = Field(
        3600, gt=0, description="seconds for a job to be done, and then for its results to be fetched"
    )

    url: str = Field(
        "http://127.0.0.1:8000", pattern=r"^https?://", description="server that the client's commands talk to"
    )
    key: SecretStr | None = Field(None, description="API key that the client's commands send")

    @model_validator(mode="before")
    @classmethod
    def _password_into_url(cls, values: dict[str, Any]) -> dict[str, Any]:
        url = values.get("redis_url")
        file = values.get("redis_password_file")
        if not url or not file:
            return values
        try:
            password = Path(file).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"FACE_REDIS_PASSWORD_FILE cannot be read: {error.strerror or error}") from error
        return values | {"redis_url": url_with_password(url, password)}

    @model_validator(mode="after")
    def _no_misspelt_variable(self) -> Self:
        lines = unknown_variables(os.environ, type(self).model_fields)
        if lines:
            raise ValueError("; ".join(lines))
        return self

    @field_validator("compat", "cors_origins", "image_hosts", "webhook_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("compat")
    @classmethod
    def _known_apis(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in COMPATIBLE:
                raise ValueError(f"an API is one of {', '.join(COMPATIBLE)}, not {name!r}")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if re.fullmatch(r"https?://[^/?#@*\s]+", origin) is None:
                raise ValueError(f"an origin is like https://example.org, not {origin!r}")
        return tuple(origin.lower() for origin in value)  # as browsers send it

    @field_validator("image_hosts", "webhook_hosts")
    @classmethod
    def _bare_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if re.fullmatch(r"[\w.:-]+", host) is None:  # a URL or a pattern would match no host, ever
                raise ValueError(f"a host is like example.org, example.org:8443 or ::1, not {host!r}")
        return tuple(host.lower() for host in value)

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> Self:
        if self.webhook_hosts and self.webhook_secret is None:
            raise ValueError("FACE_WEBHOOK_HOSTS needs FACE_WEBHOOK_SECRET, which signs what they are sent")
        return self

    @field_validator(
        "data_dir",
        "weights",
        "calibration",
        "old_weights",
        "old_calibration",
        "master_key_file",
        "queue_key_file",
        "redis_password_file",
    )
    @classmethod
    def _expand(cls, value: Path | None, _: ValidationInfo) -> Path | None:
        return value.expanduser() if value else None


def url_with_password(url: str, password: str) -> str:
    """Return a URL with a password for its user."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}:{quote(password, safe='')}@{host}"))
