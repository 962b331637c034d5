"""A checkpoint's networks as OpenVINO models in a cache folder; converted in a process of their own.

That process needs PyTorch and ends: the one that answers never imports it, which saves 180 MB and 1.5 s at each start
(docs/log.md, 'a worker without PyTorch'). The folder is named by the checkpoint's digest and OpenVINO's version.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from model.checkpoint_file import CheckpointFile

MODELS = ("detect", "describe", "mirror")
OPTIONAL = {"proposals": "propose", "screening": "screen"}
"""Models of the parts that not every checkpoint has."""
LAYOUT = 7
"""Of the models' inputs, outputs and what lies between: a change makes older folders of no use."""

log = logging.getLogger(__name__)


class ConversionError(RuntimeError):
    """The networks could not be converted."""


def default_folder() -> Path:
    """Return where converted models lie unless a folder is named: the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "allinone-face" / "openvino"


def converted(file: CheckpointFile, folder: Path | None, version: str) -> Path:
    """Return the folder of a checkpoint's models, made now where it is not there yet.

    Raises ConversionError where that fails. A folder that cannot be written costs a conversion at each start.
    """
    parent = folder or default_folder()
    path = parent / f"{file.digest[:16]}-{version.partition('-')[0]}-{LAYOUT}"
    if _is_complete(path, file):
        return path
    try:
        parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="partial-", dir=parent))
    except OSError as error:
        log.warning("converted models cannot be kept", extra={"reason": error.strerror})
        made = path = Path(tempfile.mkdtemp(prefix="allinone-face-"))
    log.info("converting the networks for OpenVINO, once for this checkpoint")
    _run_converter(file.path, made)
    if made != path and _is_complete(path, file):
        shutil.rmtree(made)  # another process was quicker, and may be reading what it made
    elif made != path:
        shutil.rmtree(path, ignore_errors=True)
        made.replace(path)
    return path


def _is_complete(path: Path, file: CheckpointFile) -> bool:
    return all((path / f"{name}.{suffix}").is_file() for name in _names(file) for suffix in ("xml", "bin"))


def _names(file: CheckpointFile) -> tuple[str, ...]:
    return (*MODELS, *(name for part, name in OPTIONAL.items() if file.holds(part)))


def _run_converter(weights: Path, folder: Path) -> None:
    words = [sys.executable, "-m", "model.runtime.engines.conversion", str(weights), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConversionError(f"OpenVINO could not convert the networks: {done.stderr.strip()[-500:]}")


def convert(weights: Path, folder: Path) -> None:
    """Write the models of a checkpoint into a folder. Raises CheckpointError for weights that do not fit."""
    import torch  # noqa: PLC0415 - in this process only

    from model import checkpoint  # noqa: PLC0415
    from model.openvino_package import openvino  # noqa: PLC0415
    from model.runtime.engines import modules  # noqa: PLC0415

    torch.set_num_threads(1)
    loaded = checkpoint.load(weights)
    with torch.no_grad():
        for name, module, example in modules.inference_modules(loaded):
            channels_last = [-1, *example.shape[1:]] if name != "propose" else [-1, -1, -1, 3]
            model = openvino.convert_model(module, example_input=example, input=[openvino.PartialShape(channels_last)])
            for output, label in zip(model.outputs, module.names, strict=True):
                output.get_tensor().set_names({label})
            openvino.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)


def main(words: Sequence[str] | None = None) -> int:
    """Command line: python -m model.runtime.engines.conversion WEIGHTS FOLDER."""
    parser = argparse.ArgumentParser(description="Convert a checkpoint's networks to OpenVINO models in a folder.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args(words)
    convert(chosen.weights, chosen.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
