"""`python -m model.evaluate PROTOCOL…`: the figures of a checkpoint on the test parts."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from model.checkpoint import CheckpointError
from model.evaluate import (
    age_ranges,
    celeba,
    celeba_attributes,
    clusters,
    covered,
    detection,
    groups,
    harmed,
    helen,
    lfw,
    mtfl,
    people,
    pose,
    profiles,
    report,
    sunglasses,
    utkface,
    visibility,
)
from model.evaluate.paper import aflw, afw, fddb, fgnet, fotw, ijba, lap, pascal
from model.evaluate.result import Result, results_rows
from model.evaluate.run import Run
from model.runtime.engines import DTYPES, ENGINES
from model.runtime.pipeline import Analyzer, AnalyzerConfig

_MODULES = {
    "lfw": lfw,
    "utkface": utkface,
    "celeba": celeba,
    "mtfl": mtfl,
    "helen": helen,
    "pose": pose,
    "detection": detection,
    "groups": groups,
    "people": people,
}
_PAPER_MODULES = {
    "afw": afw,
    "pascal": pascal,
    "fddb": fddb,
    "aflw": aflw,
    "celeba-attributes": celeba_attributes,
    "fotw": fotw,
    "lap": lap,
    "fgnet": fgnet,
    "ijba": ijba,
}
_HARD_MODULES = {
    "profiles": profiles,
    "harmed": harmed,
    "covered": covered,
    "visibility": visibility,
    "sunglasses": sunglasses,
}
_IDENTITY_MODULES = {"clusters": clusters, "age-ranges": age_ranges}
PROTOCOLS: dict[str, Callable[[Run], Result]] = {name: module.evaluate for name, module in _MODULES.items()}
"""On the data sets of the project's cache: `all`."""
HARD: dict[str, Callable[[Run], Result]] = {name: module.evaluate for name, module in _HARD_MODULES.items()}
"""On faces that are hard to see, most of them made or harmed for it: by name alone."""
IDENTITY: dict[str, Callable[[Run], Result]] = {name: module.evaluate for name, module in _IDENTITY_MODULES.items()}
"""What a checkpoint's calibration and age ranges promise: by name alone, since not every checkpoint has them."""
PAPER: dict[str, Callable[[Run], Result]] = {name: module.evaluate for name, module in _PAPER_MODULES.items()}
"""The paper's, on the original archives: DIR/<set>/ of --data."""
REPORT = Path("report.html")


def parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    arguments = argparse.ArgumentParser(
        prog="python -m model.evaluate",
        description="Evaluate a checkpoint on the test parts of the data sets.",
        epilog="\n".join(
            [
                "protocols:",
                *_titles(_MODULES),
                "  all        all of these",
                "\non faces that are hard to see, by name alone:",
                *_titles(_HARD_MODULES),
                "\nof the calibrated checkpoint, by name alone:",
                *_titles(_IDENTITY_MODULES),
                "\nof the paper, on the archives as their authors give them out:",
                *_titles(_PAPER_MODULES),
                "\n  report     every protocol whose data --data holds, beside the paper's figures: one HTML page",
            ]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = arguments.add_argument
    add("protocol", nargs="+", choices=[*PROTOCOLS, *HARD, *IDENTITY, *PAPER, "all", "report"], metavar="PROTOCOL")
    add("--weights", type=Path, help="checkpoint (default: the shipped one)")
    add("--folds", type=Path, metavar="DIR", help="fddb: a checkpoint for each fold, DIR/fold-01.safetensors …")
    add("--data", type=Path, help="folder of unpacked data sets, DIR/<set>/ (default: FACE_CACHE_DIR/data)")
    add("--json", type=Path, metavar="FILE", help="write figures and tables as JSON")
    add("--plots", type=Path, metavar="DIR", help="draw the curves as PNG")
    add("--out", type=Path, default=REPORT, metavar="FILE", help="report: the page (default: %(default)s)")
    add("--limit", type=int, metavar="N", help="a quick look: only N samples of each set, evenly spread")
    add("--device", default="cpu", help="cpu, cuda:0 (default: %(default)s)")
    add("--dtype", default="auto", choices=list(DTYPES))
    add("--engine", default="auto", choices=list(ENGINES), help="what runs the network (default: as the service)")
    add("--proposals", default="dense", choices=["dense", "selective-search"])
    add("--no-refine", action="store_true", help="without Iterative Region Proposals")
    add("--no-medians", action="store_true", help="L-NMS without its medians: each face is its best detection")
    return arguments


def _titles(modules: Mapping[str, ModuleType]) -> list[str]:
    return [f"  {name} {' ' * (10 - len(name))}{(m.__doc__ or '').splitlines()[0]}" for name, m in modules.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the protocols named; return 1, with a line on standard error, when data or weights are missing."""
    arguments = parser().parse_args(argv)
    if arguments.limit is not None and arguments.limit < 1:
        print("--limit must be at least 1", file=sys.stderr)
        return 2
    try:
        where = (arguments.weights, arguments.device, arguments.dtype, arguments.proposals)
        config = AnalyzerConfig(
            *where, refine=not arguments.no_refine, medians=not arguments.no_medians, engine=arguments.engine
        )
        analyzer = Analyzer(config)
        run = Run(analyzer, arguments.data, arguments.limit, arguments.folds)
        if "report" in arguments.protocol:
            return write_report(run, arguments, sys.argv[1:] if argv is None else argv)
        protocols = PROTOCOLS | HARD | IDENTITY | PAPER
        names = [n for protocol in arguments.protocol for n in (PROTOCOLS if protocol == "all" else [protocol])]
        results = []
        for name in dict.fromkeys(names):
            results.append(protocols[name](run))
            print(results[-1].text(), end="\n\n", flush=True)
            save(results, analyzer, arguments)
    except (FileNotFoundError, CheckpointError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(results_rows(results, [command(r.protocol, arguments) for r in results], today(), analyzer.digest))
    return 0


def write_report(run: Run, arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Write the report; return 0 also where some data are missing, 1 when no protocol has any."""
    outcomes = report.gather(run, PAPER | PROTOCOLS, lambda name: command(name, arguments))
    model = run.analyzer.digest
    info = run.analyzer.info
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(report.page(outcomes, model, info, today(), report.whole_command(argv)), encoding="utf-8")
    results = [outcome.result for outcome in outcomes.values() if outcome.result is not None]
    if results:
        save(results, run.analyzer, arguments)
    print(f"{arguments.out}: {len(results)} of {len(outcomes)} protocols measured")
    return 0 if results else 1


def command(protocol: str, arguments: argparse.Namespace) -> str:
    """Return the command that measures a protocol again with the checkpoint that the digest names."""
    options = [
        ("--folds", arguments.folds if protocol == "fddb" else None, None),
        ("--limit", arguments.limit, None),
        ("--device", arguments.device, "cpu"),
        ("--dtype", arguments.dtype, "auto"),
        ("--engine", arguments.engine, "auto"),
    ]
    options.append(("--proposals", arguments.proposals, "dense"))
    changed = [f"{name} {value}" for name, value, default in options if value != default]
    changed += [
        name for name, off in (("--no-refine", arguments.no_refine), ("--no-medians", arguments.no_medians)) if off
    ]
    return " ".join(["python -m model.evaluate", protocol, *changed])


def save(results: Sequence[Result], analyzer: Analyzer, arguments: argparse.Namespace) -> None:
    """Write the JSON file and the latest result's plots, where asked for: a run that is stopped keeps what it has."""
    if arguments.json is not None:
        parts = {r.protocol: {"command": command(r.protocol, arguments), **r.as_json()} for r in results}
        document = {"date": today(), "model": analyzer.digest, "info": analyzer.info, "results": parts}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if arguments.plots is not None:
        for result in results if "report" in arguments.protocol else results[-1:]:
            result.draw(arguments.plots)


def today() -> str:
    """Return today's date in UTC, YYYY-MM-DD."""
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


if __name__ == "__main__":
    sys.exit(main())
