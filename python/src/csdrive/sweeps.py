"""A workload for every combination of settings."""

import concurrent.futures
import hashlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional, Sequence, Union

from . import _csdrive
from .workloads import Result, WorkloadLike, read, run


class Ray:
    """Runs the points of a sweep on a Ray cluster: `sweep(..., executor=Ray())`, after `ray.init()`. csdrive must be installed on its nodes."""

    def __init__(self, **options: Any) -> None:
        import ray

        self._ray = ray
        self._remote = ray.remote(_point).options(**options) if options else ray.remote(_point)

    def submit(self, function: Any, *arguments: Any) -> "concurrent.futures.Future[str]":
        """Starts a point; `function` is the one that this was made for."""
        if function is not _point:
            raise ValueError("it runs points of sweeps only")
        return self._remote.remote(*arguments).future()


class HyperQueue:
    """Runs the points of a sweep on a HyperQueue cluster: `sweep(..., executor=HyperQueue(client, folder))`.

    client: hyperqueue.Client; its Python (python_env) must have csdrive
    folder: a folder that all machines of the cluster share, for what comes of each point
    options: those of hyperqueue.Job.function, as resources
    """

    def __init__(self, client: Any, folder: Union[str, "os.PathLike[str]"], **options: Any) -> None:
        self._client, self._folder, self._options = client, Path(folder).resolve(), options
        self._folder.mkdir(parents=True, exist_ok=True)

    def submit(self, function: Any, *arguments: Any) -> "_Written":
        """Starts a point; what comes of it is written to a file."""
        import hyperqueue

        known = hashlib.sha256(json.dumps(arguments, default=str).encode()).hexdigest()[:32]
        path = self._folder / f"{known}.json"
        path.unlink(missing_ok=True)
        job = hyperqueue.Job(max_fails=0)
        job.function(_write, args=(str(path), function, arguments), **self._options)
        return _Written(self._client, self._client.submit(job), path)


class _Written:
    """What a job of HyperQueue is going to write."""

    def __init__(self, client: Any, job: Any, path: Path) -> None:
        self._client, self._job, self._path = client, job, path

    def result(self) -> str:
        self._client.wait_for_jobs([self._job])
        return self._path.read_text()


def _write(path: str, function: Any, arguments: Sequence[Any]) -> None:
    """Does it, and leaves what comes of it in a file."""
    scratch = Path(path).with_suffix(".part")
    scratch.write_text(function(*arguments))
    scratch.replace(path)


def _point(name: str, text: str, folder: str, settings: Mapping[str, Any]) -> str:
    """One run, from text to text: what goes to another machine and comes back."""
    from .workloads import split

    of_workload, of_drive = split(settings)
    return _csdrive.run_workload(name, text, folder, of_workload, of_drive, None)


def points(vary: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of settings, the last varied fastest."""
    return [dict(zip(vary, values)) for values in itertools.product(*vary.values())]


def _hash(name: str, text: str, settings: Mapping[str, Any]) -> str:
    known = json.dumps([_csdrive.__version__, text, {k: str(v) for k, v in sorted(settings.items())}])
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def sweep(
    workload: WorkloadLike,
    vary: Mapping[str, Sequence[Any]],
    settings: Optional[Mapping[str, Any]] = None,
    *,
    results: Optional[Union[str, "os.PathLike[str]"]] = None,
    executor: Any = None,
    processes: Optional[int] = None,
    progress: bool = True,
) -> Any:
    """Runs a workload for every combination of settings; gives one pandas DataFrame, a row for each in their order.

    vary:      {"compute.units": [1, 2, 4], "job.scan.iodepth": [1, 8]}
    settings:  the same for all
    results:   a file of JSON lines: what is there already is not run again, so that an interrupted sweep goes on
    executor:  anything with `submit(function, *arguments)` that gives futures: a concurrent.futures executor, dask.distributed.Client, Ray(), HyperQueue(...);
               by default a pool of processes on this machine
    processes: how many those are; default: as many as processors

    Columns: the settings, then every number of the document by its place (`jobs.scan.execute.bw_bytes`). The order of the rows and what is in
    them do not depend on where they ran. A document as a whole: `frame.attrs["documents"][row]`.
    """
    import pandas

    name, text, folder = read(workload)
    settings = dict(settings or {})
    todo = points(vary)
    hashes = [_hash(name, text, {**settings, **point}) for point in todo]
    done = _read(results)
    kept = {hash_: done[hash_] for hash_ in hashes if hash_ in done}
    missing = [(hash_, point) for hash_, point in zip(hashes, todo) if hash_ not in kept]
    unique = dict(missing)
    own = None
    if executor is None and unique:
        import multiprocessing

        own = executor = concurrent.futures.ProcessPoolExecutor(
            min(processes or os.cpu_count() or 1, len(unique)), multiprocessing.get_context("spawn")
        )
    try:
        futures = {executor.submit(_point, name, text, folder, {**settings, **point}): hash_ for hash_, point in unique.items()}
        with _Lines(results) as lines:
            for future in _bar(_completed(futures), len(todo), len(todo) - len(missing), progress):
                hash_ = futures[future]
                kept[hash_] = json.loads(future.result())
                lines.add({"point": hash_, "settings": unique[hash_], "document": kept[hash_]})
    finally:
        if own is not None:
            own.shutdown(cancel_futures=True)
    documents = [Result(kept[hash_]) for hash_ in hashes]
    rows = [{**point, **document.numbers()} for point, document in zip(todo, documents)]
    frame = pandas.DataFrame(rows)
    frame.attrs["documents"] = documents
    return frame


def _completed(futures: Iterable[Any]) -> Iterable[Any]:
    """Futures as they complete, where that can be known; else in order."""
    if all(isinstance(future, concurrent.futures.Future) for future in futures):
        return concurrent.futures.as_completed(futures)
    return futures


def _read(results: Optional[Union[str, "os.PathLike[str]"]]) -> dict[str, Any]:
    """Documents that a file has; a last line that was not written to its end does not count."""
    if results is None or not Path(results).exists():
        return {}
    there = {}
    for line in Path(results).read_text().splitlines():
        try:
            entry = json.loads(line)
            there[entry["point"]] = entry["document"]
        except (ValueError, KeyError, TypeError):
            continue
    return there


class _Lines:
    """Appends lines to a file, each at once; without a file, to nothing."""

    def __init__(self, path: Optional[Union[str, "os.PathLike[str]"]]) -> None:
        self._path = path

    def __enter__(self) -> "_Lines":
        self._file = None if self._path is None else open(self._path, "a+b")
        if self._file is not None and self._file.tell() > 0:
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")
        return self

    def add(self, entry: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(entry, default=str).encode() + b"\n")
            self._file.flush()

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _bar(futures: Iterable[Any], total: int, done: int, wanted: bool) -> Iterable[Any]:
    """A progress bar, if somebody looks and tqdm is there."""
    if wanted and sys.stderr.isatty():
        try:
            from tqdm import tqdm  # type: ignore[import-untyped]
        except ImportError:
            return futures
        bar: Iterable[Any] = tqdm(futures, total=total, initial=done, unit="point")
        return bar
    return futures


__all__ = ["HyperQueue", "Ray", "points", "run", "sweep"]
