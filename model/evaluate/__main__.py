"""`python -m model.evaluate PROTOCOL…`: the figures of a checkpoint on the test parts."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from model.checkpoint import CheckpointError
from model.evaluate import celeba, detection, helen, lfw, pose, utkface
from model.evaluate.result import Result, results_rows
from model.evaluate.run import Run
from model.pipeline import Analyzer, AnalyzerConfig

PROTOCOLS: dict[str, Callable[[Run], Result]] = {
    "lfw": lfw.evaluate,
    "utkface": utkface.evaluate,
    "celeba": celeba.evaluate,
    "helen": helen.evaluate,
    "pose": pose.evaluate,
    "detection": detection.evaluate,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    modules = (lfw, utkface, celeba, helen, pose, detection)
    titles = [f"  {name:10} {(m.__doc__ or '').splitlines()[0]}" for name, m in zip(PROTOCOLS, modules, strict=True)]
    arguments = argparse.ArgumentParser(
        prog="python -m model.evaluate",
        description="Evaluate a checkpoint on the test parts of the data sets.",
        epilog="protocols:\n" + "\n".join([*titles, "  all        all of them"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = arguments.add_argument
    add("protocol", nargs="+", choices=[*PROTOCOLS, "all"], metavar="PROTOCOL")
    add("--weights", type=Path, help="checkpoint (default: the shipped one)")
    add("--data", type=Path, help="folder of unpacked data sets, DIR/<set>/ (default: FACE_CACHE_DIR/data)")
    add("--json", type=Path, metavar="FILE", help="write figures and tables as JSON")
    add("--plots", type=Path, metavar="DIR", help="draw the curves as PNG")
    add("--limit", type=int, metavar="N", help="a quick look: only N samples of each set, evenly spread")
    add("--device", default="cpu", help="cpu, cuda:0 (default: %(default)s)")
    add("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    add("--proposals", default="dense", choices=["dense", "selective-search"])
    return arguments


def main(words: Sequence[str] | None = None) -> int:
    """Runs the protocols named; 1 with a clear line when data or weights are missing."""
    chosen = parser().parse_args(words)
    if chosen.limit is not None and chosen.limit < 1:
        print("--limit must be at least 1", file=sys.stderr)
        return 2
    names = list(PROTOCOLS) if "all" in chosen.protocol else list(dict.fromkeys(chosen.protocol))
    try:
        analyzer = Analyzer(AnalyzerConfig(chosen.weights, chosen.device, chosen.dtype, chosen.proposals))
        run = Run(analyzer, chosen.data, chosen.limit)
        results = []
        for name in names:
            results.append(PROTOCOLS[name](run))
            print(results[-1].text(), end="\n\n", flush=True)
            save(results, analyzer, chosen)
    except (FileNotFoundError, CheckpointError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(results_rows(results, [command(r.protocol, chosen) for r in results], today(), analyzer.digest))
    return 0


def command(protocol: str, chosen: argparse.Namespace) -> str:
    """How to get a protocol's figures again with the checkpoint that the digest names."""
    options = [
        ("--limit", chosen.limit, None),
        ("--device", chosen.device, "cpu"),
        ("--dtype", chosen.dtype, "float32"),
    ]
    options.append(("--proposals", chosen.proposals, "dense"))
    changed = [f"{name} {value}" for name, value, default in options if value != default]
    return " ".join(["python -m model.evaluate", protocol, *changed])


def save(results: Sequence[Result], analyzer: Analyzer, chosen: argparse.Namespace) -> None:
    """Writes the JSON file and the latest result's plots, as asked for: a run that is stopped keeps what it has."""
    if chosen.json is not None:
        parts = {r.protocol: {"command": command(r.protocol, chosen), **r.as_json()} for r in results}
        whole = {"date": today(), "model": analyzer.digest, "info": analyzer.info, "results": parts}
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        chosen.json.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    if chosen.plots is not None:
        results[-1].draw(chosen.plots)


def today() -> str:
    """The date, UTC."""
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


if __name__ == "__main__":
    sys.exit(main())
