"""Settings: environment variables `FACE_…`, overridden by the command line; an argument everywhere, never a global."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")]


class Settings(BaseSettings):
    """Everything that can be set, with the environment variable `FACE_` + the name in capitals.

    Sizes take units ("32MiB"); durations are seconds. Raises pydantic's ValidationError for a bad value.
    """

    model_config = SettingsConfigDict(env_prefix="FACE_", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    data_dir: Path = Path("~/.local/share/allinone-face")
    redis_url: str | None = None
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field((), description="origins, separated by commas")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    weights: Path | None = None
    calibration: Path | None = Field(None, description="thresholds from own photos, by `allinone-face calibrate`")
    old_weights: Path | None = Field(None, description="serve: a second model, for collections that it made")
    old_calibration: Path | None = Field(None, description="as `calibration`, of the second model")
    device: Device = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    proposals: Literal["dense", "selective-search"] = "dense"

    api_keys: Literal["auto", "on", "off"] = Field("auto", description="auto: on when listening outside loopback")
    master_key: SecretStr | None = Field(None, description="32 bytes in base64; several open, the first seals")
    searchers: int = Field(0, ge=0, le=1000, description="parts that searches are scattered to, over Redis")
    vector_sets: str | None = Field(
        None, description="a Redis 8 that searches approximately; templates lie there unsealed"
    )
    url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://", description="the server that commands talk to")
    key: SecretStr | None = Field(None, description="the API key that commands send")
    master_key_file: Path | None = None
    min_quality: float = Field(0.25, ge=0, le=1, description="of a face that is enrolled")
    far: float = Field(1e-3, gt=0, le=0.5, description="false accept rate of `matched` in 1:1")
    fpir: float = Field(0.01, gt=0, le=0.5, description="share of strangers whose search may match in 1:N")

    image_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="hosts or host:port that images may be fetched from, separated by commas"
    )
    max_bytes: ByteSize = Field(ByteSize(32 << 20), gt=0, description="one image, compressed")
    max_pixels: int = Field(100_000_000, gt=0, description="one image, decoded")
    max_images: int = Field(16, gt=0, description="images in one request")
    max_request_bytes: ByteSize = Field(ByteSize(64 << 20), gt=0, description="one request's body")
    upload_timeout: float = Field(60, gt=0, description="until a request's body has arrived")
    timeout: float = Field(30, gt=0, description="from the body's arrival to the answer")

    queue_size: int = Field(256, gt=0, description="images accepted and not yet answered")
    queue_bytes: ByteSize = Field(ByteSize(512 << 20), gt=0, description="their compressed bytes")
    batch_images: int = Field(16, gt=0, description="images in one call of the model")
    batch_pixels: int = Field(16_000_000, gt=0, description="their pixels; a larger image goes alone")
    batch_linger: float = Field(0.004, ge=0, le=0.1, description="longest wait for images still being decoded")
    decode_threads: int = Field(2, gt=0)
    queue_lease: float = Field(5, ge=0.2, description="a worker silent for so long loses its images to another")
    queue_key: SecretStr | None = Field(None, description="32 bytes in base64 that seal photos in Redis; as master_key")
    queue_key_file: Path | None = None
    queue_deliveries: int = Field(3, gt=0, description="to so many workers an image is given before it is put aside")
    model_digest: str | None = Field(None, description="answer with this model only; else with that of most workers")
    metrics_port: int | None = Field(None, ge=0, le=65535, description="/metrics and probes of a worker or searcher")
    job_images: int = Field(1000, gt=0, description="photos in one asynchronous job")
    job_bytes: ByteSize = Field(ByteSize(256 << 20), gt=0, description="an archive's files, unpacked")
    job_images_at_once: int = Field(8, gt=0, description="photos of an API process's jobs in the queue")
    jobs_open: int = Field(8, gt=0, description="asynchronous jobs that are not done")
    jobs_ttl: float = Field(3600, gt=0, description="for a job to be done, and then for its results to be fetched")
    webhook_secret: SecretStr | None = Field(None, description="signs what webhooks are sent")
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="hosts or host:port, separated by commas"
    )
    otlp_endpoint: str | None = Field(
        None, pattern=r"^https?://", description="OTLP/HTTP, …/v1/traces; none: no traces"
    )
    shutdown_grace: float = Field(30, gt=0, description="for requests under way when told to stop")

    @field_validator("cors_origins", "image_hosts", "webhook_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _listed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not origin.startswith(("http://", "https://")) or origin.rstrip("/") != origin:
                raise ValueError(f"an origin is like https://example.org, not {origin!r}")
        return value

    @field_validator("vector_sets")
    @classmethod
    def _one_way(cls, value: str | None, known: ValidationInfo) -> str | None:
        if value and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("an URL is like redis://127.0.0.1:6380/0")
        if value and known.data.get("searchers"):
            raise ValueError("either this or FACE_SEARCHERS")
        return value

    @field_validator("webhook_hosts")
    @classmethod
    def _signed(cls, value: tuple[str, ...], known: ValidationInfo) -> tuple[str, ...]:
        if value and not known.data.get("webhook_secret"):
            raise ValueError("needs FACE_WEBHOOK_SECRET, which signs what they are sent")
        return value

    @field_validator("image_hosts", "webhook_hosts")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host.lower() for host in value)

    @field_validator(
        "data_dir", "weights", "calibration", "old_weights", "old_calibration", "master_key_file", "queue_key_file"
    )
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value else None


def explain(error: ValidationError) -> str:
    """One line for each bad setting, with the name its user knows it by."""
    return "\n".join(f"FACE_{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors())
