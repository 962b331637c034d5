"""The package OpenVINO, kept from reporting its use: without this each import tells its makers, over the Internet.

Its telemetry package, which it installs, sends unless a file in the home folder refuses; when that package cannot be
imported, OpenVINO does without (docs/log.md, 'OpenVINO reports each import'). Everything here imports it from this
module.
"""

from __future__ import annotations

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402 - after the line above

__all__ = ["openvino"]
