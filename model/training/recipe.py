"""Recipes: what a training run is made of, read from JSON, and the data it names."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from model import tasks
from model.datasets import archives, mixture
from model.presets import PRESETS
from model.tasks import LossConfig

Precision = Literal["float32", "bfloat16"]
_PRECISIONS = get_args(Precision)


@dataclass(frozen=True)
class Recipe:
    """A training run; a JSON file holds its fields."""

    preset: str
    data: dict[str, Any]
    steps: int  # that the learning rate is planned for
    stop: int | None = None  # step at which the run ends earlier
    start: str | None = None  # "teacher", the identity network the trunk starts from, or the path of a checkpoint
    lr: float = 1e-3
    shared_lr: float = 1e-4  # of the trunk
    warmup: int = 200  # steps of rising rate
    decay: int = 2000  # steps of cosine decay at the end; constant before
    weight_decay: float = 1e-4
    clip: float = 5.0  # largest gradient norm
    ema: float = 0.999  # decay of the averaged weights, which are what validates and ships
    age_switch: int = tasks.AGE_SWITCH  # step at which λ of Eq. 6 goes from 0 to age_lambda
    age_lambda: float = 1.0
    loss: dict[str, Any] = field(default_factory=dict)  # LossConfig
    weights: dict[str, float] = field(default_factory=dict)  # of the tasks, Eq. 8
    precision: Precision = "bfloat16"
    validate_every: int = 1000
    checkpoint_minutes: float = 10.0
    seed: int = 0
    accumulate: int = 1  # batches whose gradients make one step, on each device
    workers: int = 0  # processes that make batches; 0: a thread
    dropout: float = 0.0  # of the map that the deep branches read
    only: list[str] = field(default_factory=list)  # tasks whose heads and own stages alone learn; empty: all there is
    openvino: bool = False  # the stages that do not learn run in OpenVINO in bfloat16: thrice as fast on a CPU

    @property
    def end(self) -> int:
        """Return the step at which the run ends."""
        return self.stop or self.steps

    def learns(self, task: str) -> bool:
        """Whether the run trains the task."""
        return not self.only or task in self.only


def read_recipe(path: Path) -> Recipe:
    """A recipe from JSON. Raises ValueError naming unknown or missing fields and values that there are not."""
    raw = json.loads(path.read_text())
    if not isinstance(raw, dict):
        raise ValueError(f"{path.name}: a recipe is a JSON object")
    missing = {"preset", "data", "steps"} - set(raw)
    if missing:
        raise ValueError(f"{path.name}: missing fields {sorted(missing)}")
    for part, given, known in (
        ("", raw, {f.name for f in fields(Recipe)}),
        ("loss.", raw.get("loss", {}), {f.name for f in fields(LossConfig)} - {"age_lambda"}),
        ("weights.", raw.get("weights", {}), set(tasks.TASKS)),
        ("data.", raw["data"], {f.name for f in fields(_data_config(raw["data"]))} - {"seed", "root", "fold"}),
        ("only: ", raw.get("only", ()), set(tasks.TASKS)),
        ("data.shares.", raw["data"].get("shares", {}), set(mixture.LOADERS)),
    ):
        if unknown := set(given) - known:
            raise ValueError(f"{path.name}: unknown fields {sorted(part + name for name in unknown)}")
    for name, allowed in (("preset", list(PRESETS)), ("precision", list(_PRECISIONS))):
        if name in raw and raw[name] not in allowed:
            raise ValueError(f"{path.name}: {name} must be one of {allowed}, not {raw[name]!r}")
    if raw.get("start") not in (None, "teacher") and not str(raw["start"]).endswith(".safetensors"):
        raise ValueError(f"{path.name}: start must be null, 'teacher' or a .safetensors file, not {raw['start']!r}")
    if raw.get("accumulate", 1) < 1 or raw.get("workers", 0) < 0:
        raise ValueError(f"{path.name}: accumulate is at least 1 and workers at least 0")
    return Recipe(**raw)


def _data_config(data: dict[str, Any]) -> type[mixture.MixtureConfig] | type[archives.ArchivesConfig]:
    return archives.ArchivesConfig if "sets" in data else mixture.MixtureConfig


def load_data(recipe: Recipe, root: Path | None = None, fold: int | None = None) -> mixture.Data:
    """The recipe's data: archives below a folder (an FDDB fold left out), or the mixture of the cache.

    Raises FileNotFoundError naming what is missing, ValueError for archives with a preset of another frame.
    """
    size = PRESETS[recipe.preset].input_size
    frame = PRESETS[recipe.preset].frame
    if "sets" in recipe.data:
        if frame != "canonical":
            raise ValueError(f"archives are framed for the paper's presets, not for {recipe.preset}")
        place = str(root) if root else None
        return archives.load(archives.ArchivesConfig(**recipe.data, seed=recipe.seed, root=place, fold=fold), size)
    return mixture.load(mixture.MixtureConfig(**recipe.data, seed=recipe.seed), size, frame)
