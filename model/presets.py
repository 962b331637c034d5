"""The sizes of a network, and the presets: the paper's two networks, and two that start from published ones.

Fig. 3 of the paper; sizes the figure leaves open follow AlexNet and HyperFace (docs/paper.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DESCRIPTOR = 512
EMBEDDING = 128


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of one network. `subjects` is the width of fc8, which exists in training only: 0 leaves it out."""

    trunk: Literal["alexnet", "residual", "mobile"]
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
    deep_stages: int = 0  # stages that the deep branches do not share with identity, the last of them `deep_end`
    deep_end: int = 6  # the stage after which the deep branches' heads stand
    frame: Literal["canonical", "arcface"] = "canonical"  # of aligned chips, model.landmarks
    embedding: int = EMBEDDING  # width of the linear map that learns a teacher's descriptor; 0 leaves it out
    pose: int = 3  # outputs of the pose head: roll, pitch, yaw; 4 give the roll as sine and cosine, for turned faces
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
    "mobile": NetworkConfig(
        trunk="mobile",
        input_size=112,
        channels=(64, 64, 64, 128, 128, 128, 512),
        local=("detection", "landmarks", "visibility", "pose"),
        deep=("gender", "age", "smile"),
        identity=True,
        tap_width=96,
        fuse_width=160,
        fuse_blocks=1,
        local_width=512,
        head_width=256,
        deep_widths=(256, 128),
        identity_width=0,
        deep_stages=4,
        deep_end=7,
        frame="arcface",
        embedding=0,
        pose=4,
        ages=101,
    ),
}
