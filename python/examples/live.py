"""What a drive does, live, as plots that go on: python live.py [SERIAL]... Start it before the drive or after it (csdrive vm --records).

One row of plots for each drive: throughput, latency, and how many jobs wait and run. Everything is kept in live.npz when the window is closed.
"""

import collections
import sys
import threading
import time

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation

import csdrive

SECONDS = 60
drives = sys.argv[1:] or ["CSDRIVE0001"]
rows = {drive: collections.deque(maxlen=SECONDS * 5) for drive in drives}
kept = {drive: [] for drive in drives}


def watch(drive):
    """Sums up each fifth of a second."""
    for batch in csdrive.live.follow(drive, interval=0.2):
        latency = csdrive.live.latencies_ns(batch.commands)
        kept[drive].append(batch.commands)
        rows[drive].append(
            (
                time.time(),
                batch.commands["bytes"].sum() * 5 / 1e6,
                np.percentile(latency, 50) / 1e3 if len(latency) else np.nan,
                np.percentile(latency, 99) / 1e3 if len(latency) else np.nan,
                batch.jobs["ran_ns"].sum() / 0.2e9,
                sum(batch.lost.values()),
            )
        )


def draw(_):
    for drive, axes in zip(drives, grid):
        if not rows[drive]:
            continue
        times, rate, p50, p99, busy, lost = np.array(rows[drive]).T
        times = times - time.time()
        for axis, lines in zip(axes, ([rate], [p50, p99], [busy])):
            for line, values in zip(axis.get_lines(), lines):
                line.set_data(times, values)
            axis.relim()
            axis.autoscale_view(scalex=False)
        axes[0].set_title(f"{drive}" + (f", {int(lost.sum())} records lost" if lost.sum() else ""))


for drive in drives:
    threading.Thread(target=watch, args=(drive,), daemon=True).start()
figure, grid = plt.subplots(len(drives), 3, figsize=(14, 3 * len(drives)), squeeze=False, layout="constrained")
for axes in grid:
    for axis, labels, unit in zip(axes, (["throughput"], ["p50", "p99"], ["units busy"]), ("MB/s", "us", "units")):
        for label in labels:
            axis.plot([], [], label=label)
        axis.set(xlim=(-SECONDS, 0), xlabel="s", ylabel=unit)
        axis.legend(loc="upper left")
animation = FuncAnimation(figure, draw, interval=500, cache_frame_data=False)
plt.show()
np.savez("live.npz", **{drive: np.concatenate(kept[drive]) for drive in drives if kept[drive]})
