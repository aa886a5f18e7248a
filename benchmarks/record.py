"""Keep the ratios of table.py over time: one line a row and run in benchmarks/history.csv.

    .venv/bin/python benchmarks/record.py [--repeat 5] [--picture docs/images/history.png]

Only ratios are kept, because seconds say more about the machine than about the code. The processor stands beside them:
a ratio against code that uses other instructions differs from one processor to another too.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import subprocess
from collections import defaultdict
from pathlib import Path

from table import ROWS, SHAPE, compare, make_volume

HISTORY = Path(__file__).with_name("history.csv")
COLUMNS = ("date", "commit", "processor", "row", "peer", "ratio")


def commit():
    """The commit that was measured, with a mark where files differ from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def record(repeat):
    """Measure all rows, and add them to the history."""
    volumes = {dtype: make_volume(SHAPE, dtype) for dtype in ("uint16", "float32")}
    new = not HISTORY.exists()
    with HISTORY.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for row, (dtype, *_) in ROWS.items():
            *_, ratio, goal, peer = compare(row, volumes[dtype], repeat)
            writer.writerow([datetime.date.today(), commit(), processor(), row, peer, f"{ratio:.2f}"])
            file.flush()
            print(f"{row:28} {ratio:7.1f} times {peer} (goal {goal})")


def draw(path):
    """The ratios of each row, one run after the other."""
    from matplotlib.figure import Figure

    ratios = defaultdict(list)
    with HISTORY.open(newline="") as file:
        for line in csv.DictReader(file):
            ratios[line["row"]].append((line["commit"], float(line["ratio"])))
    runs = list(dict.fromkeys(commit for points in ratios.values() for commit, _ in points))
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    for row, points in ratios.items():
        axes.semilogy([runs.index(commit) for commit, _ in points], [ratio for _, ratio in points], "o-", label=row)
    axes.set_xticks(range(len(runs)), runs, rotation=30, ha="right")
    axes.set(xlabel="commit", ylabel="times faster than the peer")
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--picture", help="where to save a picture of the history, for the docs")
    parser.add_argument("--only-draw", action="store_true", help="measure nothing")
    options = parser.parse_args()
    if not options.only_draw:
        record(options.repeat)
    if options.picture:
        draw(options.picture)


if __name__ == "__main__":
    main()
