"""AllInOne: one trunk in seven stages, a branch fused from stages 1, 3 and 5, deep branches from 6, identity from 7.

                    ┌ tap 1 ┐  ┌ tap 3 ┐  ┌ tap 5 ┐
    crop ─ stage 1 ─┴─ 2 ─ 3 ─┴── 4 ─ 5 ─┴─ 6 ─┬─ 7 ─ descriptor ─ subjects, embedding
             └───────────┴──────────┘          └─ age, gender
               local: detection, landmarks, visibility, pose, smile

In the preset residual the deep branches have stages of their own, copies of the trunk's last before 7.

Fig. 3 of the paper; sizes the figure leaves open follow AlexNet and HyperFace (docs/paper.md).
"""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.tasks import TASKS
from model.trunk import Residual, alexnet_stages, normalise, residual_stages

DESCRIPTOR = 512
EMBEDDING = 128


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of one network. `subjects` is the width of fc8, which exists in training only: 0 leaves it out."""

    trunk: Literal["alexnet", "residual"]
    input_size: int
    channels: tuple[int, ...]  # of the stages, in order
    local: tuple[str, ...]  # tasks of the fused branch
    deep: tuple[str, ...]  # tasks from stage 6
    identity: bool
    tap_width: int  # channels of conv1a and conv3a
    fuse_width: int  # channels after the fusing 1×1 convolution
    fuse_blocks: int  # residual blocks after it
    local_width: int  # units of the shared fully connected layer
    head_width: int  # units of each local task's own layer
    deep_widths: tuple[int, int]
    identity_width: int  # fc6's units; 0 leaves it out: the pooled map goes straight to the descriptor
    deep_stages: int = 0  # stages up to the 6th that the deep branches do not share with identity
    subjects: int = 0
    ages: int = 1  # outputs of the age head: the age, or the logits of the ages 0 … n-1
    dropout: float = 0.0  # of stage 6's map before the deep branches, in training


_LOCAL = ("detection", "landmarks", "visibility", "pose", "smile")

PRESETS: dict[str, NetworkConfig] = {
    "paper": NetworkConfig(
        trunk="alexnet",
        input_size=227,
        channels=(96, 256, 384, 384, 384, 512, 512),
        local=_LOCAL,
        deep=("gender", "age"),
        identity=True,
        tap_width=256,
        fuse_width=256,
        fuse_blocks=0,
        local_width=2048,
        head_width=512,
        deep_widths=(1024, 128),
        identity_width=1024,
    ),
    "hyperface": NetworkConfig(
        trunk="alexnet",
        input_size=227,
        channels=(96, 256, 384, 384, 256),
        local=("detection", "landmarks", "visibility", "pose", "gender"),
        deep=(),
        identity=False,
        tap_width=256,
        fuse_width=192,
        fuse_blocks=0,
        local_width=3072,
        head_width=512,
        deep_widths=(0, 0),
        identity_width=0,
    ),
    "residual": NetworkConfig(
        trunk="residual",
        input_size=150,
        channels=(32, 64, 64, 128, 128, 256, 256),
        local=("detection", "landmarks", "visibility", "pose"),
        deep=("gender", "age", "smile"),
        identity=True,
        tap_width=64,
        fuse_width=128,
        fuse_blocks=2,
        local_width=512,
        head_width=256,
        deep_widths=(256, 128),
        identity_width=0,
        deep_stages=3,
        ages=101,
    ),
}


class LocalBranch(nn.Module):
    """Fuses the maps of stages 1, 3 and 5 into one vector a crop (HyperFace Fig. 2)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels, width = config.channels, config.tap_width
        alexnet = config.trunk == "alexnet"
        self.conv1a = nn.Conv2d(channels[0], width, 4, stride=4)
        self.conv3a = nn.Conv2d(channels[2], width, 2, stride=2)
        self.pool1: nn.Module = nn.MaxPool2d(3, 2) if alexnet else nn.Identity()
        self.pool5: nn.Module = nn.MaxPool2d(3, 2) if alexnet else nn.Identity()
        self.act1a, self.act3a, self.act_fuse, self.act = nn.PReLU(), nn.PReLU(), nn.PReLU(), nn.PReLU()
        self.fuse = nn.Conv2d(2 * width + channels[4], config.fuse_width, 1)
        self.blocks = nn.Sequential(*(Residual(config.fuse_width) for _ in range(config.fuse_blocks)))
        side = 6 if alexnet else 8
        self.fc = nn.Linear(config.fuse_width * side * side, config.local_width)

    def forward(self, tap1: Tensor, tap3: Tensor, tap5: Tensor) -> Tensor:
        """Taps [K, C, H, W] → features [K, local_width]."""
        maps = [self.act1a(self.conv1a(self.pool1(tap1))), self.act3a(self.conv3a(tap3)), self.pool5(tap5)]
        fused = self.blocks(self.act_fuse(self.fuse(torch.cat(maps, dim=1))))
        features: Tensor = self.act(self.fc(fused.flatten(1)))
        return features


class IdentityBranch(nn.Module):
    """Stage 7's map → the 512-d descriptor (fc7), from it the subjects' cosines (fc8) and the teacher's embedding."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        if config.trunk == "alexnet":
            self.pool: nn.Module = nn.Sequential(nn.MaxPool2d(3, 2), nn.Flatten())
            self.fc6: nn.Module = nn.Sequential(nn.Linear(config.channels[6] * 36, config.identity_width), nn.PReLU())
            width = config.identity_width
        else:
            self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.fc6, width = nn.Identity(), config.channels[6]
        self.fc7 = nn.Linear(width, DESCRIPTOR)
        self.embedding = nn.Linear(DESCRIPTOR, EMBEDDING, bias=False)
        self.fc8 = nn.Linear(DESCRIPTOR, config.subjects, bias=False) if config.subjects else None

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Stage 7's map [K, C, H, W] → descriptor [K, 512] (not normalised), embedding, in training identity."""
        descriptor = self.fc7(self.fc6(self.pool(features)))
        outputs = {"descriptor": descriptor, "embedding": self.embedding(descriptor)}
        if self.fc8 is not None:
            outputs["identity"] = F.linear(F.normalize(descriptor), F.normalize(self.fc8.weight))
        return outputs


class AllInOne(nn.Module):
    """The multi-task network of one NetworkConfig. Crops are RGB, 0–255 (uint8 or float), of config.input_size."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        alexnet = config.trunk == "alexnet"
        self.stages = alexnet_stages(config.channels) if alexnet else residual_stages(config.channels)
        self.local = LocalBranch(config)
        self.local_heads = nn.ModuleDict({name: self._local_head(name) for name in config.local})
        self.deep_stages = deepcopy(self.stages[6 - config.deep_stages : 6])
        self.pool6: nn.Module = nn.MaxPool2d(3, 2) if alexnet else nn.Identity()
        self.deep_heads = nn.ModuleDict({name: self._deep_head(name) for name in config.deep})
        self.identity = IdentityBranch(config) if config.identity else None

    def _local_head(self, name: str) -> nn.Module:
        width = self.config.head_width
        return nn.Sequential(
            nn.Linear(self.config.local_width, width), nn.PReLU(), nn.Linear(width, TASKS[name].outputs)
        )

    def _deep_head(self, name: str) -> nn.Module:
        first, second = self.config.deep_widths
        side = 6 if self.config.trunk == "alexnet" else 4
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(self.config.channels[5] * side * side, first),
            nn.PReLU(),
            nn.Linear(first, second),
            nn.PReLU(),
            nn.Linear(second, self.config.ages if name == "age" else TASKS[name].outputs),
        )

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters of the trunk and of the identity branch it came with: they learn at a lower rate."""
        identity = (
            [] if self.identity is None else [*self.identity.fc7.parameters(), *self.identity.embedding.parameters()]
        )
        return [*self.stages.parameters(), *self.deep_stages.parameters(), *identity]

    def fork(self) -> None:
        """Starts the deep branches' own stages as the trunk's."""
        for own, shared in zip(self.deep_stages, self.stages[6 - len(self.deep_stages) : 6], strict=True):
            own.load_state_dict(shared.state_dict())

    def forward(self, crops: Tensor, tasks: Collection[str] | None = None) -> dict[str, Tensor]:
        """Crops [K, 3, S, S] → raw outputs of the tasks asked for (all by default), as model.tasks.TASKS reads them.

        Only the stages that those tasks need are run: the local tasks stop after stage 5.
        """
        wanted = set(tasks) if tasks is not None else {*self.config.local, *self.config.deep, "descriptor"}
        local = [name for name in self.config.local if name in wanted]
        deep = [name for name in self.config.deep if name in wanted]
        identity = self.identity is not None and not wanted.isdisjoint({"descriptor", "identity", "embedding"})

        x = normalise(crops).to(self.local.fuse.weight.dtype)
        maps: list[Tensor] = []
        for stage in self.stages[: 7 if identity else 6 if deep and not self.deep_stages else 5]:
            x = stage(x)
            maps.append(x)
        outputs: dict[str, Tensor] = {}
        if local:
            features = self.local(maps[0], maps[2], maps[4])
            outputs |= {name: self.local_heads[name](features) for name in local}
        if deep:
            own = maps[5 - len(self.deep_stages)]
            for stage in self.deep_stages:
                own = stage(own)
            pooled = F.dropout(self.pool6(own), self.config.dropout, self.training)
            outputs |= {name: self.deep_heads[name](pooled) for name in deep}
        if identity and self.identity is not None:
            outputs |= self.identity(maps[6])
        return outputs
