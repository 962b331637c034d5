"""Networks that are converted for OpenVINO once for all tests, not once for each data folder."""

from pathlib import Path

from model.runtime.engines import conversion


def with_converted_networks(data_dir: Path) -> Path:
    """Return this data folder, made so that a service finds there what the user's cache holds converted.

    A conversion takes five seconds of processor time for each checkpoint; tests/model/runtime/engines converts.
    """
    shared = conversion.default_folder()
    shared.mkdir(parents=True, exist_ok=True)
    data_dir.mkdir(parents=True, exist_ok=True)
    if not (data_dir / "openvino").exists():
        (data_dir / "openvino").symlink_to(shared)
    return data_dir
