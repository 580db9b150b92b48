"""Workloads: a file, or a dict of the same form."""

import json
import os
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional, Union

from . import _csdrive
from .drive import assignments, config_keys

Workload = Union[str, "os.PathLike[str]", Mapping[str, Any]]


def read(workload: Workload) -> tuple[str, str, str]:
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
    workload: Workload,
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
