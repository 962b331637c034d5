"""The engines that run the networks, and which of them a configuration gets."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from model.checkpoint_file import CheckpointFile
from model.runtime.engines.protocol import Engine

if TYPE_CHECKING:
    from model.runtime.pipeline import AnalyzerConfig

ENGINES = ("auto", "openvino", "torch")
DTYPES = ("auto", "float32", "bfloat16", "float16")

log = logging.getLogger(__name__)


def open_engine(file: CheckpointFile, config: AnalyzerConfig) -> Engine:
    """Open the engine that the configuration asks for; 'auto' is OpenVINO on processors, where it is installed.

    Raises ValueError for a configuration that cannot be, CheckpointError for weights that do not fit.
    """
    _check(config)
    propose = config.proposals == "dense"
    if _wants_openvino(config):
        from model.runtime.engines.conversion import ConversionError  # noqa: PLC0415 - an optional package

        try:
            return _open_openvino(file, config, propose)
        except (ConversionError, RuntimeError) as error:
            if config.engine == "openvino":
                raise ValueError(f"the engine OpenVINO cannot be used: {error}") from error
            log.warning("OpenVINO cannot be used, PyTorch answers", extra={"reason": str(error)[-200:]})
    from model.runtime.engines.pytorch import TorchEngine  # noqa: PLC0415 - imports PyTorch: OpenVINO does without

    return TorchEngine(file.path, config.device, config.dtype, config.threads, propose=propose)


def _check(config: AnalyzerConfig) -> None:
    if config.engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {config.engine!r}")
    if config.dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {config.dtype!r}")
    if config.proposals not in ("dense", "selective-search"):
        raise ValueError(f"proposals must be 'dense' or 'selective-search', not {config.proposals!r}")
    if config.dtype == "float16" and config.device == "cpu":
        raise ValueError("float16 needs a CUDA device; the CPU has float32 and bfloat16")
    if config.engine == "openvino" and config.device != "cpu":
        raise ValueError(f"the engine OpenVINO runs on the CPU, not on {config.device}")
    if config.engine == "openvino" and not _openvino_installed():
        raise ValueError("the engine OpenVINO needs the package openvino: pip install 'allinone-face[model]'")


def _wants_openvino(config: AnalyzerConfig) -> bool:
    return config.device == "cpu" and config.engine != "torch" and _openvino_installed()


def _openvino_installed() -> bool:
    return importlib.util.find_spec("openvino") is not None


def _open_openvino(file: CheckpointFile, config: AnalyzerConfig, propose: bool) -> Engine:
    from model.openvino_package import openvino  # noqa: PLC0415
    from model.runtime.engines.conversion import converted  # noqa: PLC0415
    from model.runtime.engines.openvino import OpenVinoEngine  # noqa: PLC0415

    size = int(file.network["input_size"])
    folder: Path = converted(file, config.cache, openvino.get_version())
    try:
        return OpenVinoEngine(folder, size, config.dtype, config.threads, propose=propose)
    except RuntimeError:
        log.warning("the converted networks cannot be read, converting them again")
        shutil.rmtree(folder, ignore_errors=True)
        folder = converted(file, config.cache, openvino.get_version())
        return OpenVinoEngine(folder, size, config.dtype, config.threads, propose=propose)
