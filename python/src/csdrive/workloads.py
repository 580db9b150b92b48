"""Workloads: a file, or a dict of the same form."""

import json
import os
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional, Union

from . import _csdrive
from .drive import assignments, config_keys

WorkloadLike = Union[str, "os.PathLike[str]", Mapping[str, Any]]


def read(workload: WorkloadLike) -> tuple[str, str, str]:
    """Name, text and folder of a workload."""
    if isinstance(workload, Mapping):
        return "workload", _csdrive.to_toml(json.dumps(workload)), os.getcwd()
    path = Path(workload)
    return str(path), path.read_text(), str(path.parent.resolve())


def split(settings: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Settings of the workload, and those of all drives' configuration."""
    known = {key.name for key in config_keys()}
    of_drive = {key: value for key, value in settings.items() if key in known or key.startswith("namespace.")}
    of_workload = {key: value for key, value in settings.items() if key not in of_drive}
    return assignments(of_workload), assignments(of_drive)


class Result(dict):  # type: ignore[type-arg]
    """The document of a workload (docs/json.md), with a short way to its numbers.

    `result["jobs.reader.read.lat_ns.p99"]`: elements of lists by their names or numbers, percentiles as p99.
    """

    def __getitem__(self, key: str) -> Any:
        if isinstance(key, str) and "." in key:
            return lookup(self, key)
        return super().__getitem__(key)

    @property
    def holds(self) -> bool:
        """True if all assertions of the workload hold."""
        return all(judged["holds"] for judged in self["assertions"])

    def numbers(self) -> dict[str, float]:
        """Every number of the document by its place, but for series and what was not measured."""
        return dict(_numbers(dict(self), ""))


def _name(element: Any, number: int) -> str:
    if isinstance(element, dict):
        for key in ("jobname", "tenant"):
            if element.get(key) is not None:
                return str(element[key])
    return str(number)


def _percent(text: str) -> str:
    """p99.9 of "99.900000"."""
    return "p" + (text.rstrip("0").rstrip(".") if "." in text else text)


def _numbers(value: Any, place: str) -> Iterator[tuple[str, float]]:
    inside = f"{place}." if place else ""
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        yield place, value
    elif isinstance(value, dict):
        if value.get("N") == 0 or value.get("total_ios") == 0:
            return
        for key, element in value.items():
            if key == "percentile":
                for percent, number in element.items():
                    yield f"{inside}{_percent(percent)}", number
            elif key != "series":
                yield from _numbers(element, f"{inside}{key}")
    elif isinstance(value, list):
        for number, element in enumerate(value):
            if isinstance(element, dict):
                yield from _numbers(element, f"{inside}{_name(element, number)}")


def lookup(document: Any, place: str) -> Any:
    """What stands at a place of a document."""
    value = document
    for part in place.split("."):
        if isinstance(value, list):
            names = [_name(element, number) for number, element in enumerate(value)]
            index = names.index(part) if part in names else int(part) if part.isdigit() else None
            if index is None or index >= len(value):
                raise KeyError(f"{place}: there is no {part}, but {', '.join(names)}")
            value = value[index]
            continue
        if isinstance(value, dict) and part in value:
            value = dict.__getitem__(value, part)
            continue
        percentiles = value.get("percentile", {}) if isinstance(value, dict) else {}
        found = {_percent(percent): number for percent, number in percentiles.items()}
        if part not in found:
            there = list(found) + [key for key in value if key != "percentile"] if isinstance(value, dict) else []
            raise KeyError(f"{place}: there is no {part}, but {', '.join(there)}")
        value = found[part]
    return value


def run(
    workload: WorkloadLike,
    settings: Optional[Mapping[str, Any]] = None,
    *,
    progress: Optional[Callable[[float], None]] = None,
    record: Optional[Union[str, "os.PathLike[str]"]] = None,
) -> Result:
    """Runs a workload in virtual time.

    workload: a file (docs/workloads.md), or a dict of the same form
    settings: keys of the workload ("job.NAME.iodepth": 4, "seed": 2) and of all drives' configuration ("compute.units": 2)
    record: a new folder for the run's records (Parquet files) and what was run: see csdrive.Recording, csdrive stat, report, trace
    progress: called now and then with the share that is done, from 0 to 1

    Other threads of Python go on meanwhile. Equal workloads, settings and versions give equal documents.
    """
    name, text, folder = read(workload)
    of_workload, of_drive = split(settings or {})
    return Result(json.loads(_csdrive.run_workload(name, text, folder, of_workload, of_drive, progress, record)))


class Workload(dict):  # type: ignore[type-arg]
    """A workload, part by part. It is a dict of the form of a workload file (docs/workloads.md), for `run` and `sweep`.

        workload = Workload(runtime="20ms", seed=1)
        workload.drive({"compute.units": 2})
        workload.job("reader", rw="randread", iodepth=4)
        workload.job("scan", program="declared", bandwidth="2GB/s", bs="1MiB")
        result = workload.run()

    keys: those of the file (runtime, ramp_time, seed, host, fabric, assert)
    """

    def __init__(self, **keys: Any) -> None:
        super().__init__(keys)

    @classmethod
    def read(cls, path: Union[str, "os.PathLike[str]"]) -> "Workload":
        """A workload file. Paths in it are those of files beside it: run it from its folder, or by its path."""
        return cls(**json.loads(_csdrive.to_json(Path(path).read_text())))

    def drive(self, settings: Optional[Mapping[str, Any]] = None, **keys: Any) -> "Workload":
        """Adds a drive, or `count` equal ones. settings: keys of its configuration; keys: those of [[drive]] (config, femu, count)."""
        self.setdefault("drive", []).append({**keys, **({"set": dict(settings)} if settings else {})})
        return self

    def job(self, name: str, **keys: Any) -> "Workload":
        """Adds a job. keys: those of [[job]] (rw, bs, iodepth, rate_iops, program, ...)."""
        self.setdefault("job", []).append({"name": name, **keys})
        return self

    def toml(self) -> str:
        """The text of the file."""
        return _csdrive.to_toml(json.dumps(self))

    def run(self, settings: Optional[Mapping[str, Any]] = None, **options: Any) -> Result:
        """Runs it, as `csdrive.run` does."""
        return run(self, settings, **options)
