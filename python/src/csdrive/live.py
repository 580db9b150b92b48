"""What a served drive does, live: its records in shared memory, as NumPy arrays.

    csdrive serve --records            (or csdrive vm --records)

    for batch in csdrive.live.follow("CSDRIVE0001"):
        print(len(batch.commands), batch.lost)

Any number of readers, started before or after the drive; none of them slows it down. A reader that is too slow loses the oldest records, and is
told how many.
"""

import mmap
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Optional, Union

import numpy as np

from . import records
from ._csdrive import CsdriveError

FOLDER = Path("/dev/shm")
MAGIC = int.from_bytes(b"CSDRRING", "little")
VERSION = 1
HEADER_BYTES = 4096
# Words of the header.
_MAGIC, _VERSIONS, _GENERATION, _PROCESS, _CLOSED, _KINDS, _KIND_WORDS = 0, 1, 2, 3, 4, 8, 8
# Words of a kind.
_KIND_AND_BYTES, _PLACES, _OFFSET, _WRITTEN, _RESERVED = range(5)

KINDS: dict[str, Any] = {
    "commands": records.CommandRecord,
    "jobs": records.JobRecord,
    "units": records.UnitRecord,
    "dies": records.DieRecord,
    "links": records.LinkRecord,
    "counters": records.CounterRecord,
}
DTYPES = {name: np.dtype(structure) for name, structure in KINDS.items()}


@dataclass
class Batch:
    """What came since the last time: an array of each kind, whose fields are those of csdrive.records; and how many were lost."""

    commands: np.ndarray
    jobs: np.ndarray
    units: np.ndarray
    dies: np.ndarray
    links: np.ndarray
    counters: np.ndarray
    lost: dict[str, int]

    def __len__(self) -> int:
        return sum(len(getattr(self, name)) for name in KINDS)


def path_of(drive: str) -> Path:
    """The records of the drive of this serial number; a path is itself."""
    if "/" in drive:
        return Path(drive)
    safe = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    name = "".join(chr(byte) if byte in safe else f"%{byte:02X}" for byte in drive.encode())
    return FOLDER / f"csdrive-{name}"


class Reader:
    """Reads a drive's records, from now on. It must be there: `follow` waits for it."""

    def __init__(self, drive: str = "CSDRIVE0001") -> None:
        self.path = path_of(drive)
        with open(self.path, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_uid not in (os.geteuid(), 0) or about.st_mode & 0o022:
                raise CsdriveError(f"{self.path}: not a file of this user or root that only its owner may write: it is not read")
            if about.st_size < HEADER_BYTES:
                raise CsdriveError(f"{self.path}: {about.st_size} bytes are no ring of records")
            self._map = mmap.mmap(file.fileno(), about.st_size, prot=mmap.PROT_READ)
        self._words = np.frombuffer(self._map, dtype="<u8", count=HEADER_BYTES // 8)
        if self._word(_MAGIC) != MAGIC:
            raise CsdriveError(f"{self.path}: no ring of records")
        ring, of_records = self._word(_VERSIONS) & 0xFFFFFFFF, self._word(_VERSIONS) >> 32
        if (ring, of_records) != (VERSION, records.VERSION):
            raise CsdriveError(
                f"{self.path}: records of version {of_records} in a ring of version {ring}; this package reads {records.VERSION} in {VERSION}:"
                " install the one of the csdrive that serves the drive"
            )
        self._places: dict[str, np.ndarray] = {}
        self._read: dict[str, int] = {}
        for number, (name, structure) in enumerate(KINDS.items()):
            header = _KINDS + _KIND_WORDS * number
            places, offset = self._word(header + _PLACES), self._word(header + _OFFSET)
            if places == 0:
                continue
            is_sound = (
                self._word(header + _KIND_AND_BYTES) == structure.KIND | structure.BYTES << 32
                and places & (places - 1) == 0
                and offset >= HEADER_BYTES
                and offset + places * structure.BYTES <= about.st_size
            )
            if not is_sound:
                raise CsdriveError(f"{self.path}: its {name} are not where they can be")
            self._places[name] = np.frombuffer(self._map, dtype=DTYPES[name], count=places, offset=offset)
            self._read[name] = self._word(header + _WRITTEN)

    def _word(self, n: int) -> int:
        return int(self._words[n])

    @property
    def generation(self) -> int:
        """A number that no other ring has."""
        return self._word(_GENERATION)

    @property
    def is_closed(self) -> bool:
        """True if nothing more will come: the drive is gone."""
        return self._word(_CLOSED) != 0 or not os.path.exists(f"/proc/{self._word(_PROCESS)}")

    def read(self) -> Batch:
        """Takes what came since the last time."""
        arrays, lost = {}, {}
        for number, name in enumerate(KINDS):
            arrays[name], lost[name] = self._take(name, _KINDS + _KIND_WORDS * number)
        return Batch(**arrays, lost=lost)

    def _take(self, name: str, header: int) -> tuple[np.ndarray, int]:
        if name not in self._places:
            return np.empty(0, DTYPES[name]), 0
        places = self._places[name]
        count = len(places)
        written = self._word(header + _WRITTEN)
        start = min(max(self._read[name], written - count), written)
        first, last = start % count, written % count
        if start == written:
            copied = np.empty(0, DTYPES[name])
        elif first < last:
            copied = places[first:last].copy()
        else:
            copied = np.concatenate([places[first:], places[:last]])
        # What may have been overwritten while it was copied does not count.
        sound = min(max(self._word(header + _RESERVED) - count, start), written)
        lost = max(sound - self._read[name], 0)
        self._read[name] = written
        return copied[sound - start :], lost


def follow(drive: str = "CSDRIVE0001", interval: float = 0.1, timeout: Optional[float] = None) -> Iterator[Batch]:
    """What comes, a batch for each interval in seconds; batches may be empty. Waits for a drive that is not there (at most `timeout` seconds, then it ends), and
    for it to come again."""
    reader: Optional[Reader] = None
    waited = 0.0
    while True:
        if reader is None and path_of(drive).exists():
            reader = Reader(drive)
            waited = 0.0
        if reader is not None:
            is_closed = reader.is_closed
            yield reader.read()
            if is_closed:
                reader = None
        elif timeout is not None and waited >= timeout:
            return
        time.sleep(interval)
        waited += interval


Array = Union[np.ndarray, Any]


def latencies_ns(commands: np.ndarray) -> Array:
    """How long commands took, from when the controller took them to their completion."""
    return commands["completed_ns"] - commands["fetched_ns"]


def columns(array: np.ndarray) -> dict[str, np.ndarray]:
    """Records as plain arrays, by the names that the Parquet files have: a column for each stage of a command (flash_read_ns, ...), and each class of
    instructions of a job. What tables are made of: pandas.DataFrame(columns(a)), polars.DataFrame(columns(a)), pyarrow.table(columns(a))."""
    made: dict[str, np.ndarray] = {}
    for name in array.dtype.names or ():
        if name == "reserved":
            continue
        if array[name].ndim == 1:
            made[name] = np.ascontiguousarray(array[name])
            continue
        names = (
            [f"{stage}_ns" for stage in records.STAGES]
            if name == "stages_ns"
            else [f"{name}_{n}" for n in range(array[name].shape[1])]
        )
        made.update({column: np.ascontiguousarray(array[name][:, n]) for n, column in enumerate(names)})
    return made


def frame(array: np.ndarray) -> Any:
    """Records as a pandas DataFrame, with these columns."""
    import pandas

    return pandas.DataFrame(columns(array))
