"""Figures of what came of workloads and sweeps (matplotlib).

Each function draws into `axes`, or into a new figure, and gives the axes.
"""

from typing import Any, Mapping, Optional, Sequence, Union

from .workloads import Result, lookup

Results = Union[Result, Mapping[str, Result]]


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _each(results: Results) -> Mapping[str, Any]:
    return {"": results} if "jobs" in results else results


def cdf(results: Results, job: str, kind: str = "execute", latency: str = "lat_ns", axes: Any = None) -> Any:
    """The distribution of a job's latencies, at the percentiles that its document has. Several results, by names, are compared.

    kind: read, write or execute; latency: slat_ns, clat_ns or lat_ns
    """
    axes = _axes(axes)
    for name, result in _each(results).items():
        measured = lookup(result, f"jobs.{job}.{kind}.{latency}")
        points = sorted((float(percent), ns) for percent, ns in measured["percentile"].items())
        axes.plot([ns / 1000 for _, ns in points], [percent for percent, _ in points], marker=".", label=name or job)
    axes.set(xlabel="latency, us", ylabel="operations, %", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def series(results: Results, job: str, axes: Any = None) -> Any:
    """Throughput of a job over time."""
    axes = _axes(axes)
    for name, result in _each(results).items():
        measured = lookup(result, f"jobs.{job}.series")
        width = measured["width_ns"]
        times = [n * width / 1e6 for n in range(len(measured["bytes"]))]
        axes.plot(times, [number / width * 1e3 for number in measured["bytes"]], label=name or job, drawstyle="steps-post")
    axes.set(xlabel="time, ms", ylabel="throughput, MB/s", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


PARTS = {
    "units_busy": "units",
    "channels_busy": "channels",
    "dies_busy": "dies",
    "link_out_busy": "link to host",
    "link_in_busy": "link from host",
}


def utilisation(results: Results, drive: int = 0, axes: Any = None) -> Any:
    """How much of the time the parts of a drive were busy."""
    axes = _axes(axes)
    each = _each(results)
    width = 0.8 / len(each)
    for n, (name, result) in enumerate(each.items()):
        shares = [100 * lookup(result, f"drives.{drive}.{part}") for part in PARTS]
        axes.barh([place + n * width for place in range(len(PARTS))], shares, height=width, label=name or None)
    axes.set_yticks([place + 0.4 - width / 2 for place in range(len(PARTS))], list(PARTS.values()))
    axes.set(xlabel="busy, %", xlim=(0, 100))
    axes.invert_yaxis()
    if len(each) > 1:
        axes.legend()
    return axes


def lines(frame: Any, x: str, y: str, by: Optional[str] = None, axes: Any = None) -> Any:
    """A number of a sweep over a setting, a line for each value of another."""
    axes = _axes(axes)
    for value, part in [(None, frame)] if by is None else frame.groupby(by, sort=False):
        axes.plot([str(setting) for setting in part[x]], part[y], marker="o", label=None if by is None else f"{by} = {value}")
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if by is not None:
        axes.legend()
    return axes


def break_even(frame: Any, x: str, y: str, by: str, between: Sequence[Any]) -> Optional[float]:
    """Where the lines of two values of a setting cross, `x` being a number: the drive wins before it, the host behind it. `None` if they do not."""
    first, second = (frame[frame[by] == value].set_index(x)[y].sort_index() for value in between)
    difference = (first - second).dropna()
    places = list(difference.index)
    for left, right in zip(places, places[1:]):
        a, b = difference[left], difference[right]
        if a == 0:
            return float(left)
        if a * b < 0:
            return float(left + (right - left) * a / (a - b))
    return float(places[-1]) if len(places) and difference.iloc[-1] == 0 else None
