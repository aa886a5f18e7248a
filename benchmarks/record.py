"""Keep the ratios of table.py over time: one line a row and run in benchmarks/history.csv.

    .venv/bin/python benchmarks/record.py [--repeat 5] [--rows NAME ...] [--picture docs/images/history.png]

Only ratios are kept, because seconds say more about the machine than about the code: of the seconds of both sides, in
turn, and of the processor seconds of all their threads ("work"), which other programs disturb less. The processor
stands beside them: a ratio against code that uses other instructions differs from one processor to another too.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path

from table import ROWS, SHAPE, make_volume, processor_seconds, seconds

HISTORY = Path(__file__).with_name("history.csv")
COLUMNS = ("date", "commit", "processor", "voxels", "row", "peer", "ratio", "work")


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


def ratios(row, volume, repeat):
    """Medians of the peer's seconds over ours, and of its processor seconds over ours."""
    _, ours, peer, *_ = ROWS[row]
    for side in (ours, peer):
        side(volume[:16, :128, :128].copy())
    for clock in (seconds, processor_seconds):
        pairs = [(clock(ours, volume), clock(peer, volume)) for _ in range(repeat)]
        yield statistics.median(theirs / mine for mine, theirs in pairs)


def record(rows, repeat, shape, name):
    """Measure rows, and add them to the history."""
    volumes = {dtype: make_volume(shape, dtype) for dtype in {ROWS[row][0] for row in rows}}
    new = not HISTORY.exists()
    with HISTORY.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for row in rows:
            dtype, _, _, goal, peer = ROWS[row]
            ratio, work = ratios(row, volumes[dtype], repeat)
            about = datetime.date.today(), name, processor(), "x".join(map(str, shape))
            writer.writerow([*about, row, peer, f"{ratio:.2f}", f"{work:.2f}"])
            file.flush()
            print(f"{row:28} {ratio:7.1f} times {peer}, {work:.1f} times less work (goal {goal})", flush=True)


def draw(path):
    """The ratios of each row, one run after the other."""
    from matplotlib.figure import Figure

    found = defaultdict(list)
    with HISTORY.open(newline="") as file:
        for line in csv.DictReader(file):
            found[line["row"]].append((line["commit"], float(line["work"])))
    runs = list(dict.fromkeys(commit for points in found.values() for commit, _ in points))
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    for row, points in found.items():
        axes.semilogy([runs.index(commit) for commit, _ in points], [ratio for _, ratio in points], "o-", label=row)
    axes.set_xticks(range(len(runs)), runs, rotation=30, ha="right")
    axes.set(xlabel="commit", ylabel="times less processor time than the peer")
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    parser.add_argument("--commit", help="what was measured, where that is not the state of this folder")
    parser.add_argument("--picture", help="where to save a picture of the history, for the docs")
    parser.add_argument("--only-draw", action="store_true", help="measure nothing")
    options = parser.parse_args()
    if not options.only_draw:
        record(options.rows, options.repeat, tuple(options.shape), options.commit or commit())
    if options.picture:
        draw(options.picture)


if __name__ == "__main__":
    main()
