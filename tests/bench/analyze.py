"""Time of each stage and of a whole photo, by size and number of faces, beside other detectors in the same run.

    python tests/bench/analyze.py [--json FILE] [--markdown FILE] [--repeats N] [--threads N] [--predictor FILE]

The photo starts as JPEG bytes and ends as Faces with everything about them, on so many threads; medians in ms, all
contestants taking turns, so that a busy machine troubles all alike. Baselines, which only find faces, on decoded
pixels: dlib's HOG detector, once upsampled (its customary setting, faces from 40 px; alone it needs 80 px) and the LBP
cascade that scikit-image packages, through OpenCV (OpenCV 5 brings no Haar cascade). dlib's 68 points need a model file
that dlib-bin does not carry: name yours with --predictor and they are timed as well. Memory is the peak of a fresh
process that does nothing but this.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import scenes
import skimage.data

from model.runtime.pipeline import Analyzer, AnalyzerConfig
from service import images

STAGES = ("decode", "propose", "detect", "align", "attributes")
BARS = {(640, 480, 1): 120, (640, 480, 8): 400}  # ms on two CPU cores
MEMORY_BAR = 1000  # MB


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--markdown", type=Path)
    arguments.add_argument("--repeats", type=int, default=15)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--weights", type=Path, help="checkpoint (default: the shipped one)")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--dtype", default="auto")
    arguments.add_argument("--engine", default="auto", help="openvino or torch (default: what the service takes)")
    arguments.add_argument("--predictor", type=Path, help="dlib's shape_predictor_68_face_landmarks.dat")
    arguments.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    cv2.setNumThreads(chosen.threads)
    analyzer = Analyzer(
        AnalyzerConfig(chosen.weights, chosen.device, chosen.dtype, engine=chosen.engine, threads=chosen.threads)
    )
    if chosen.memory:
        print(memory(analyzer))
        return
    rows = [
        row for size in scenes.SIZES for row in measure(analyzer, size, baselines(chosen.predictor), chosen.repeats)
    ]
    report = {
        "machine": machine(chosen.threads),
        "model": analyzer.digest,
        "info": analyzer.info,
        "peak_memory_mb": fresh_process_memory(chosen),
        "rows": rows,
    }
    text = markdown(report)
    print(text)
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    if chosen.markdown:
        chosen.markdown.write_text(text + "\n")


def baselines(predictor):
    """Name → function of an RGB image that gives the number of faces; without dlib its entries are absent."""
    cascade = lbp_cascade()
    found = {
        "lbp_cascade": lambda image: len(cascade.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 1.1, 3))
    }
    try:
        import dlib  # noqa: PLC0415 - the bench extra's
    except ImportError:
        return found
    detector = dlib.get_frontal_face_detector()
    found["dlib_hog"] = lambda image: len(detector(image, 1))
    if predictor:
        points = dlib.shape_predictor(str(predictor))
        found["dlib_hog_68"] = lambda image: len([points(image, box) for box in detector(image, 1)])
    return found


def lbp_cascade():
    """OpenCV's own LBP cascade; scikit-image's copy misspells a tag that OpenCV insists on."""
    text = Path(skimage.data.lbp_frontal_face_cascade_filename()).read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(text.replace("featuhreParams", "featureParams"))
        file.flush()
        return cv2.CascadeClassifier(file.name)


def measure(analyzer, size, others, repeats):
    """One row for each number of faces in photos of one size."""
    for count in scenes.COUNTS:
        pixels = scenes.scene(*size, count)
        data = scenes.jpeg(pixels)
        taken = {name: [] for name in (*STAGES, "total", *others)}
        found = {}
        for turn in range(repeats + 2):  # two to warm up
            found["ours"], ours = time_ours(analyzer, data)
            for name, baseline in others.items():
                start = time.perf_counter()
                found[name] = baseline(pixels)
                ours[name] = time.perf_counter() - start
            if turn >= 2:
                for name, seconds in ours.items():
                    taken[name].append(1000 * seconds)
        medians = {name: round(statistics.median(values), 2) for name, values in taken.items()}
        ratios = {name: round(medians["total"] / medians[name], 3) for name in others}
        bar = BARS.get((*size, count))
        yield {
            "width": size[0],
            "height": size[1],
            "faces": count,
            "found": found,
            "ms": medians,
            "ratio": ratios,
            "bar": bar,
        }


def decoded(data):
    """Pixels of a photo, by the service's own way."""
    return images.decode(data, images.read_header(data, max_bytes=1 << 30, max_pixels=1 << 30))


def time_ours(analyzer, data):
    """Faces found, and seconds by stage and in total."""
    timings = {}
    start = time.perf_counter()
    image = decoded(data)
    after_decoding = time.perf_counter()
    [faces] = analyzer.analyze([image], timings=timings)
    end = time.perf_counter()
    return len(faces), {
        "decode": after_decoding - start,
        **{stage: timings.get(stage, 0.0) for stage in STAGES[1:]},
        "total": end - start,
    }


def memory(analyzer):
    """Peak resident memory of this process in MB, after photos of every size with eight faces."""
    for size in scenes.SIZES:
        analyzer.analyze([decoded(scenes.jpeg(scenes.scene(*size, 8)))])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def fresh_process_memory(chosen):
    words = [__file__, "--memory", "--threads", chosen.threads, "--device", chosen.device, "--dtype", chosen.dtype]
    words += ["--engine", chosen.engine]
    words += ["--weights", chosen.weights] if chosen.weights else []
    done = subprocess.run([sys.executable, *map(str, words)], check=True, capture_output=True, text=True)
    return round(float(done.stdout.split()[-1]))


def machine(threads):
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    load = os.getloadavg()[0]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": load,
    }


def _lines(path):
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def markdown(report):
    """The tables for docs/results.md."""
    others = list(report["rows"][0]["ratio"])
    columns = [
        "photo",
        "faces",
        "found",
        *STAGES,
        "total ms",
        *(f"{n} ms (found)" for n in others),
        *(f"÷ {n}" for n in others),
    ]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in report["rows"]:
        ms, found = row["ms"], row["found"]
        cells = [f"{row['width']}×{row['height']}", row["faces"], found["ours"], *(f"{ms[s]:.1f}" for s in STAGES)]
        cells += [f"{ms['total']:.1f}" + (f" (bar {row['bar']})" if row["bar"] else "")]
        cells += [f"{ms[n]:.1f} ({found[n]})" for n in others] + [f"{row['ratio'][n]:.2f}" for n in others]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    met = [row["ms"]["total"] <= row["bar"] for row in report["rows"] if row["bar"]]
    met.append(report["peak_memory_mb"] < MEMORY_BAR)
    host = report["machine"]
    return "\n".join(
        [
            f"{host['cpu']}, {host['threads']} of {host['cores']} cores, load {host['load']:.1f}; "
            f"model {report['model'][:12]}",
            "",
            *lines,
            "",
            f"Peak memory of the whole process: {report['peak_memory_mb']} MB. Bars met: {sum(met)} of {len(met)}.",
        ]
    )


if __name__ == "__main__":
    main()
