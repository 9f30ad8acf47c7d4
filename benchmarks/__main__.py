"""`python -m benchmarks [--json] [--quick] [--threads N | --gpu [--out FILE]]`: paired ratios."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import gpu, resnet, tiny_cnn
from benchmarks.images import FOLDER
from benchmarks.rounds import Row


def _tiny_cnn(quick: bool, threads: int) -> list[Row]:
    return tiny_cnn.measure(tiny_cnn.QUICK if quick else tiny_cnn.FULL, threads)


# Each suite takes "quick or not" and the number of threads, and returns its rows.
SUITES: dict[str, Callable[[bool, int], list[Row]]] = {
    "tiny CNN on a CPU": _tiny_cnn,
    "ResNet20 on a CPU": resnet.measure,
}


def main() -> int:
    """Run all suites; 1 if a median misses its bar."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer rounds on fewer samples")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads of both sides; 1 (the default) compares CPU time, more compare wall time",
    )
    parser.add_argument("--gpu", action="store_true", help="packs on the CUDA device instead")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="with --gpu, a JSON file that is rewritten after each row",
    )
    options = parser.parse_args()
    if options.out and not options.gpu:
        parser.error("--out goes with --gpu; for the others use --json and redirect it")
    if options.gpu:
        return gpu.run(options.json, options.quick, options.out)
    results = {name: suite(options.quick, options.threads) for name, suite in SUITES.items()}
    if options.json:
        report = {
            "machine": {
                "processor": _processor(),
                "cores": os.cpu_count(),
                "threads": options.threads,
                "python": platform.python_version(),
                "images": "Fashion-MNIST" if FOLDER.exists() else "noise",
            },
            "suites": {name: [row.as_json() for row in rows] for name, rows in results.items()},
        }
        print(json.dumps(report, indent=2))
    else:
        print(f"{_processor()}, {os.cpu_count()} cores; medians of paired rounds (min .. max)")
        for name, rows in results.items():
            print(f"\n{name}")
            for row in rows:
                print(_line(row))
    return 0 if all(row.passed for rows in results.values() for row in rows) else 1


def _line(row: Row) -> str:
    verdict = "ok  " if row.passed else "MISS"
    low, high = min(row.values), max(row.values)
    sign = "<=" if row.unit == "MB" else ">="
    text = (
        f"  {verdict} {row.name}: {row.median:.1f} {row.unit} ({low:.1f} .. {high:.1f}), "
        f"bar {sign} {row.bar:g}, aim {row.aim:g}; against {row.against}"
    )
    if row.rates:
        text += f" [{row.rates[0]:,.0f} and {row.rates[1]:,.0f} candidate-samples a second]"
    return text


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
