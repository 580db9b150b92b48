"""Recorded runs: `csdrive.run(..., record=FOLDER)`, or --record on the command line.

The records are Parquet files, which pandas, polars, DuckDB and Arrow read by themselves:

    polars.read_parquet("FOLDER/commands.parquet")

`Recording` reads them as NumPy arrays, without any of these.
"""

import json
import os
from pathlib import Path
from typing import Any, Union

import numpy as np

from . import _csdrive
from .live import DTYPES, KINDS, Batch, frame


class Recording:
    """A recorded run.

    about:     what was run: command, configuration, seed, hashes (record.json)
    serials:   serial numbers of the drives
    commands, jobs, units, dies, links, counters: the records of the first drive, arrays whose fields are those of csdrive.records
    """

    def __init__(self, path: Union[str, "os.PathLike[str]"]) -> None:
        self.path = Path(path)
        self.about: dict[str, Any] = json.loads(_csdrive.recorded_run(self.path))
        self.serials: list[str] = [drive["serial"] for drive in self.about["drives"]]

    def read(self, kind: str, drive: int = 0) -> np.ndarray:
        """The records of one kind of one drive."""
        if not 0 <= drive < len(self.serials):
            raise IndexError(f"drive {drive}: the run has {len(self.serials)}")
        data = _csdrive.recorded(self.path, kind, drive)
        return np.frombuffer(data, dtype=DTYPES[kind])

    def frame(self, kind: str, drive: int = 0) -> Any:
        """The same as a pandas DataFrame."""
        return frame(self.read(kind, drive))

    def batch(self, drive: int = 0) -> Batch:
        """All records of a drive, as the live reader gives them."""
        return Batch(**{kind: self.read(kind, drive) for kind in KINDS}, lost={kind: 0 for kind in KINDS})

    def __getattr__(self, name: str) -> np.ndarray:
        if name in KINDS:
            return self.read(name)
        raise AttributeError(name)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.about["records"].items())
        return f"Recording({str(self.path)!r}: {counts})"
