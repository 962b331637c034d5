"""AllInOne: one trunk in seven stages, a branch fused from stages 1, 3 and 5, deep branches from 6, identity from 7.

                    ┌ tap 1 ┐  ┌ tap 3 ┐  ┌ tap 5 ┐
    crop ─ stage 1 ─┴─ 2 ─ 3 ─┴── 4 ─ 5 ─┴─ 6 ─┬─ 7 ─ descriptor ─ subjects, embedding
             └───────────┴──────────┘          └─ age, gender
               local: detection, landmarks, visibility, pose, smile

In the presets residual and mobile the deep branches, smile among them, have stages of their own: copies of the trunk's.
What aligned chips show is read once more by heads on stages that learnt identity: model.shared_heads (age, gender,
smile, pose) and model.chip_geometry (landmarks, visibility, pose).

Fig. 3 of the paper; sizes the figure leaves open follow AlexNet and HyperFace (docs/paper.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import mobile, shared_heads
from model.chip_geometry import ChipGeometry
from model.presets import DESCRIPTOR, NetworkConfig
from model.tasks import TASKS
from model.trunk import Residual, alexnet_stages, normalise, residual_stages

_IDENTITY = frozenset({"descriptor", "identity", "embedding"})


class LocalBranch(nn.Module):
    """Fuses the maps of stages 1, 3 and 5 into one vector a crop (HyperFace Fig. 2)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = config.channels
        width = config.tap_width
        alexnet = config.trunk == "alexnet"
        self.conv1a = nn.Conv2d(channels[0], width, 4, stride=4)
        self.conv3a = nn.Conv2d(channels[2], width, 2, stride=2)
        self.pool1: nn.Module = nn.MaxPool2d(3, 2) if alexnet else nn.Identity()
        self.pool5: nn.Module = nn.MaxPool2d(3, 2) if alexnet else nn.Identity()
        self.act1a = nn.PReLU()
        self.act3a = nn.PReLU()
        self.act_fuse = nn.PReLU()
        self.act = nn.PReLU()
        self.fuse = nn.Conv2d(2 * width + channels[4], config.fuse_width, 1)
        blocks: list[nn.Module] = [Residual(config.fuse_width) for _ in range(config.fuse_blocks)]
        if config.trunk == "mobile":
            blocks = [nn.Conv2d(config.fuse_width, config.fuse_width, 3, 2, 1), nn.PReLU(), *blocks]
        self.blocks = nn.Sequential(*blocks)
        side = {"alexnet": 6, "residual": 8, "mobile": 7}[config.trunk]
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
            self.fc6 = nn.Identity()
            width = config.channels[6]
        self.fc7 = nn.Linear(width, DESCRIPTOR)
        self.embedding = nn.Linear(DESCRIPTOR, config.embedding, bias=False) if config.embedding else None
        self.fc8 = nn.Linear(DESCRIPTOR, config.subjects, bias=False) if config.subjects else None

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Stage 7's map [K, C, H, W] → descriptor [K, 512] (not normalised), some networks' embedding and identity."""
        descriptor = self.fc7(self.fc6(self.pool(features)))
        outputs = {"descriptor": descriptor}
        if self.embedding is not None:
            outputs["embedding"] = self.embedding(descriptor)
        if self.fc8 is not None:
            outputs["identity"] = F.linear(F.normalize(descriptor), F.normalize(self.fc8.weight))
        return outputs


class AllInOne(nn.Module):
    """The multi-task network of one NetworkConfig. Crops are RGB, 0–255 (uint8 or float), of config.input_size."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        alexnet = config.trunk == "alexnet"
        stages = {"alexnet": alexnet_stages, "residual": residual_stages, "mobile": mobile.mobile_stages}
        self.stages = stages[config.trunk](config.channels)
        self.local = LocalBranch(config)
        self.local_heads = nn.ModuleDict({name: self._local_head(name) for name in config.local})
        self.deep_stages = deepcopy(self.stages[config.deep_end - config.deep_stages : config.deep_end])
        self.pool6: nn.Module = nn.MaxPool2d(3, 2) if alexnet else nn.Identity()
        self.deep_heads = nn.ModuleDict({name: self._deep_head(name) for name in config.deep})
        self.identity = IdentityBranch(config) if config.identity else None
        self.shared_heads: shared_heads.SharedHeads | None = None
        self.chip_geometry: ChipGeometry | None = None

    def _local_head(self, name: str) -> nn.Module:
        width = self.config.head_width
        outputs = self.config.pose if name == "pose" else TASKS[name].outputs
        return nn.Sequential(nn.Linear(self.config.local_width, width), nn.PReLU(), nn.Linear(width, outputs))

    def _deep_head(self, name: str) -> nn.Module:
        first, second = self.config.deep_widths
        side = {"alexnet": 6, "residual": 4, "mobile": 1}[self.config.trunk]
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(self.config.channels[self.config.deep_end - 1] * side * side, first),
            nn.PReLU(),
            nn.Linear(first, second),
            nn.PReLU(),
            nn.Linear(second, self.config.ages if name == "age" else TASKS[name].outputs),
        )

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters of the trunk and of the identity branch it came with: they learn at a lower rate."""
        branch = self.identity
        identity = list[nn.Parameter]()
        if branch is not None:
            identity += branch.fc7.parameters()
            identity += [] if branch.embedding is None else branch.embedding.parameters()
        return [*self.stages.parameters(), *self.deep_stages.parameters(), *identity]

    def fork(self) -> None:
        """Starts the deep branches' own stages as the trunk's."""
        end = self.config.deep_end
        for own, shared in zip(self.deep_stages, self.stages[end - len(self.deep_stages) : end], strict=True):
            own.load_state_dict(shared.state_dict())

    def forward(self, crops: Tensor, tasks: Collection[str] | None = None) -> dict[str, Tensor]:
        """Crops [K, 3, S, S] → raw outputs of the tasks asked for (all by default), as model.tasks.TASKS reads them.

        Only the stages that those tasks need are run: the local tasks stop after stage 5.
        """
        wanted = set(tasks) if tasks is not None else {*self.config.local, *self.config.deep, "descriptor"}
        return self.branches(self.trunk(crops, self.depth(wanted)), wanted)

    def depth(self, wanted: Collection[str]) -> int:
        """How many stages of the trunk those tasks need."""
        if self.identity is not None and not _IDENTITY.isdisjoint(wanted):
            return 7
        deep = self.config.deep_end - len(self.deep_stages) if set(self.config.deep) & set(wanted) else 0
        if deep and self.shared_heads is not None:
            return 7
        return max(deep, 5 if set(self.config.local) & set(wanted) else 0)

    def trunk(self, crops: Tensor, depth: int) -> list[Tensor]:
        """The maps of the first `depth` stages."""
        mobile_pixels = self.config.trunk == "mobile"
        pixels = normalise(crops, mobile.PIXEL_MEAN, mobile.PIXEL_SCALE) if mobile_pixels else normalise(crops)
        x = pixels.to(self.local.fuse.weight.dtype)
        maps: list[Tensor] = []
        for stage in self.stages[:depth]:
            x = stage(x)
            maps.append(x)
        return maps

    def branches(
        self, maps: Sequence[Tensor], wanted: Collection[str], second: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Maps of as many stages as the wanted tasks need → their raw outputs.

        `second` are second readings by task to mix in; without it those of the same maps, where there are shared heads.
        """
        local = [name for name in self.config.local if name in wanted]
        deep = [name for name in self.config.deep if name in wanted]
        outputs: dict[str, Tensor] = {}
        if local:
            features = self.local(maps[0], maps[2], maps[4])
            outputs |= {name: self.local_heads[name](features) for name in local}
        if deep:
            own = maps[self.config.deep_end - 1 - len(self.deep_stages)]
            for stage in self.deep_stages:
                own = stage(own)
            pooled = F.dropout(self.pool6(own), self.config.dropout, self.training)
            own_readings = {name: self.deep_heads[name](pooled) for name in deep}
            second = self.second_readings(maps, deep) if second is None else second
            outputs |= shared_heads.read_twice(own_readings, second)
        if self.identity is not None and not _IDENTITY.isdisjoint(wanted):
            outputs |= self.identity(maps[6])
        return outputs

    def second_readings(self, maps: Sequence[Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
        """Maps of all stages → the shared heads' outputs of those of the tasks that they read; {} without them."""
        if self.shared_heads is None or self.identity is None:
            return {}
        descriptor = self.identity(maps[6])["descriptor"]
        second: dict[str, Tensor] = self.shared_heads(maps[4], maps[5], descriptor, wanted)
        return second
