"""Runs a Dockerfile's own steps without an engine: each RUN in a chroot on overlay layers, as root.

    unshare --mount python tests/ship/build_images.py TARGET OUT [--base debootstrap|host] [--build-arg NAME=VALUE]

OUT gets `images.json` (layers, variables, what each instruction added, in bytes) and the layers; run_image.py starts
what was built. The base is a fresh Debian of the release that the Dockerfile names (`debootstrap --variant=minbase`:
what Docker's debian:…-slim is made from), or, quicker, this machine's own root under every layer; OUT must then lie in
another file system, such as /dev/shm. How this machine's pip reaches its packages (its configuration, certificates,
local indexes) goes along.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.ship.dockerfile import Stage, Step, read

ROOT = Path(__file__).resolve().parents[2]
HOST = "/mnt/host"
LOCAL = re.compile(r"(?:file://)?(/[^\s'\"]+)")


@dataclass
class Image:
    """Layers, lowest first, and what the next instruction works with."""

    layers: list[Path]
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    sizes: list[tuple[str, int]] = field(default_factory=list)

    def copy(self) -> Image:
        """Where a stage that builds on this one starts."""
        return Image(list(self.layers), dict(self.env), self.workdir, self.user, list(self.sizes))


@contextmanager
def mounted(layers: list[Path], upper: Path | None, where: Path) -> Iterator[Path]:
    """The layers as one tree, written to `upper`, or read-only."""
    where.mkdir(parents=True, exist_ok=True)
    lower = ":".join(map(str, reversed(layers)))
    options = f"lowerdir={lower}"
    if upper is not None:
        work = upper.with_name(upper.name + ".work")
        for folder in (upper, work):
            folder.mkdir(parents=True)
        options += f",upperdir={upper},workdir={work}"
    empty = where.with_name("empty")
    empty.mkdir(exist_ok=True)
    if len(layers) == 1 and upper is None:
        options = f"lowerdir={lower}:{empty}"
    _call("mount", "-t", "overlay", "overlay", "-o", options, str(where))
    try:
        yield where
    finally:
        _call("umount", "--recursive", str(where))
        if upper is not None:
            shutil.rmtree(work)


class Builder:
    """Builds stages into a folder."""

    def __init__(self, out: Path, base: str, given: dict[str, str]) -> None:
        self._out, self._given = out, given
        self._arguments, self._stages = read(ROOT / "Dockerfile")
        self._base, self._built, self._count = base, dict[str, Image](), 0

    def build(self, name: str) -> Image:
        """The stage of that name, and first what it needs."""
        if name not in self._built:
            stage = self._stages[name]
            self._built[name] = self._run(stage, self._from(stage))
        return self._built[name]

    def _from(self, stage: Stage) -> Image:
        if stage.base in self._stages:
            return self.build(stage.base).copy()
        argument = re.fullmatch(r"\$\{(\w+)\}", stage.base)
        image = (self._given | self._arguments)[argument[1]] if argument else stage.base
        if self._base == "host":
            return Image([Path("/")])
        release = re.match(r"debian:([a-z]+)(-\d{8})?-slim", image)
        if release is None:
            raise ValueError(f"no way to make {image}")
        return Image([_debootstrap(release[1], self._out / "base")])

    def _run(self, stage: Stage, image: Image) -> Image:
        values: dict[str, str] = {}
        for step in stage.steps:
            match step.word:
                case "ARG":
                    values |= {name: self._given.get(name, value) for name, value in step.values().items()}
                case "ENV":
                    image.env |= step.values()
                case "WORKDIR":
                    image.workdir = step.rest
                case "USER":
                    image.user = step.rest
                case "RUN":
                    _say(stage, step)
                    self._layer(
                        image, f"RUN {step.rest}", lambda root, s=step, v=values: _chroot(root, image, s.rest, v)
                    )
                case "COPY":
                    if source := re.match(r"--from=(\S+)", step.rest):
                        self.build(source[1])
                    _say(stage, step)
                    self._layer(image, f"COPY {step.rest}", lambda root, s=step: self._copy(root, image, s.rest))
        return image

    def _layer(self, image: Image, what: str, act) -> None:
        upper = self._out / f"layer{self._count}"
        self._count += 1
        with mounted(image.layers, upper, self._out / "mounted") as root:
            act(root)
        image.layers.append(upper)
        image.sizes.append((what, _size(upper)))

    def _copy(self, root: Path, image: Image, rest: str) -> None:
        words = rest.split()
        target = root / (Path(image.workdir) / words[-1]).relative_to("/")
        if words[0].startswith("--from="):
            source = self.build(words[0].removeprefix("--from="))
            with mounted(source.layers, None, self._out / "source") as there:
                shutil.copytree(there / words[1].lstrip("/"), target, symlinks=True)
            return
        for word in words[:-1]:
            tracked = subprocess.run(
                ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", word],
                cwd=ROOT, check=True, capture_output=True, text=True,
            ).stdout.splitlines()  # fmt: skip
            files = [name for name in tracked if (ROOT / name).is_file()]
            if not files:
                raise FileNotFoundError(word)
            for name in files:
                if not in_context(name):
                    raise FileNotFoundError(f"{name} is kept out by .dockerignore")
                inside = Path(name).relative_to(word) if (ROOT / word).is_dir() else Path(name).name
                (target / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target / inside)


def _say(stage: Stage, step: Step) -> None:
    sys.stdout.write(f"[{stage.name}] {step.word} {step.rest[:100]}\n")
    sys.stdout.flush()


def in_context(name: str) -> bool:
    """Whether .dockerignore lets a file through: the last line that speaks of it or of a folder above decides."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if pattern and not pattern.startswith("#"):
            above = [name, *map(str, Path(name).parents)]
            if any(fnmatch.fnmatch(one, pattern.replace("**/", "*")) for one in above):
                kept = line.startswith("!")
    return kept


def _chroot(root: Path, image: Image, command: str, values: dict[str, str]) -> None:
    """One RUN, in the shell that Docker takes, with /proc, /dev and this machine's way to its packages."""
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    env |= {"DEBIAN_FRONTEND": "noninteractive"} | _pip_env(root) | values | image.env
    (root / image.workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for kernel in ("proc", "dev"):
        _call("mount", "--rbind", f"/{kernel}", str(root / kernel))
    if Path("/etc/resolv.conf").exists():
        _bind(Path("/etc/resolv.conf"), root / "etc/resolv.conf")
    inside = f'cd "{image.workdir}" && {command}'
    try:
        subprocess.run(["chroot", str(root), "/bin/sh", "-c", inside], env=env, check=True)
    finally:
        for mount in reversed(_mounts(root)):
            _call("umount", "--lazy", mount)
        shutil.rmtree(root / HOST.lstrip("/"), ignore_errors=True)


def _pip_env(root: Path) -> dict[str, str]:
    """This machine's pip settings as variables; what files and folders they name is bound under HOST, read-only."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    of_level = {
        level: dict(re.findall(rf"^{level}\.([\w-]+)='(.*)'$", listed, re.MULTILINE))
        for level in ("global", "user", "site", ":env:")  # the last counts most
    }
    settings = {name: value for found in of_level.values() for name, value in found.items()}
    env, folders = {}, set[Path]()
    for name, value in settings.items():
        folders |= {Path(*Path(path).parts[:3]) for path in LOCAL.findall(value) if Path(path).exists()}
        moved = LOCAL.sub(lambda m: m[0].replace(m[1], HOST + m[1]) if Path(m[1]).exists() else m[0], value)
        env[f"PIP_{name.upper().replace('-', '_')}"] = moved
    for folder in folders:
        _bind(folder, root / f"{HOST}{folder}".lstrip("/"))
    return env


def _bind(source: Path, there: Path) -> None:
    if source.is_dir():
        there.mkdir(parents=True, exist_ok=True)
    else:
        there.parent.mkdir(parents=True, exist_ok=True)
        there.touch()
    _call("mount", "--bind", str(source), str(there))
    _call("mount", "-o", "remount,bind,ro", str(there))


def _mounts(root: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [where for where in (line.split()[1] for line in lines) if where.startswith(f"{root}/")]


def _debootstrap(release: str, where: Path) -> Path:
    if not where.exists():
        partial = where.with_name("base.partial")
        mirror = "http://deb.debian.org/debian"
        _call("debootstrap", "--variant=minbase", release, str(partial), mirror)
        sources = partial / "etc/apt/sources.list"
        security = f"deb http://deb.debian.org/debian-security {release}-security main\n"
        sources.write_text(f"deb {mirror} {release} main\ndeb {mirror} {release}-updates main\n{security}")
        partial.rename(where)
    return where


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _call(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Build one or several targets, separated by commas."""
    parser = argparse.ArgumentParser()
    parser.add_argument("targets")
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", default="debootstrap", choices=("debootstrap", "host"))
    parser.add_argument("--build-arg", action="append", default=[])
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    _call("mount", "--make-rprivate", "/")
    builder = Builder(out, given.base, dict(pair.split("=", 1) for pair in given.build_arg))
    images = {}
    for target in given.targets.split(","):
        image = builder.build(target)
        layers = [{"what": what, "bytes": size} for what, size in image.sizes]
        images[target] = {
            "layers": [str(layer) for layer in image.layers],
            "env": image.env,
            "user": image.user,
            "sizes": layers,
        }
    (out / "images.json").write_text(json.dumps(images, indent=1))


if __name__ == "__main__":
    main()
