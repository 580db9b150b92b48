"""A simulated drive."""

import json
import os
from typing import Any, Mapping, NamedTuple, Optional, Sequence, Union

import numpy as np

from . import _csdrive
from .live import DTYPES, Batch

Bytes = Union[bytes, bytearray, memoryview, np.ndarray]
Path = Union[str, "os.PathLike[str]"]


def _bytes(data: Bytes) -> bytes:
    """The bytes of anything that has some, as they lie in memory; of an array, in C order."""
    if isinstance(data, np.ndarray):
        return data.tobytes()
    return bytes(memoryview(data).cast("B"))


def assignments(settings: Mapping[str, Any]) -> list[str]:
    """Settings as csdrive's command line has them: KEY=VALUE."""

    def text(value: Any) -> str:
        if isinstance(value, (bool, np.bool_)):
            return "true" if value else "false"
        return str(value)

    return [f"{key}={text(value)}" for key, value in settings.items()]


class Key(NamedTuple):
    """A key of a drive's configuration."""

    name: str
    default: str
    values: str
    meaning: str


def config_keys() -> list[Key]:
    """Every key of a drive's configuration, as `csdrive config keys` lists them."""
    return [Key(*key) for key in _csdrive.config_keys()]


class Drive:
    """A drive in this process, in virtual time.

    settings: keys of the configuration, as {"compute.units": 2, "flash.read_time": "40us"}
    config:   a configuration file, TOML or CEMU's JSON
    femu:     FEMU's device properties, as "nr_cu=4,fdm_size=64"

    Commands are done one after the other; `now_ns` is the drive's clock, in nanoseconds. Equal drives that do the same have equal
    clocks, results and `trace_hash`. A drive belongs to the thread that made it.
    """

    def __init__(
        self,
        settings: Optional[Mapping[str, Any]] = None,
        *,
        config: Optional[Path] = None,
        femu: str = "",
    ) -> None:
        properties = [femu] if femu else []
        self._drive = _csdrive.Drive(config, assignments(settings or {}), properties)
        self._loaded: set[int] = set()

    @property
    def warnings(self) -> list[str]:
        """What of the configuration has no effect, each in a sentence."""
        return self._drive.warnings

    @property
    def block_size(self) -> int:
        """Bytes of a block."""
        return self._drive.block_size

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self._drive.blocks

    @property
    def memory_size(self) -> int:
        """Bytes of device memory."""
        return self._drive.memory_size

    @property
    def now_ns(self) -> int:
        """The drive's clock, in nanoseconds."""
        return self._drive.now_ns

    @property
    def trace_hash(self) -> int:
        """A number over all completions so far: equal for equal runs."""
        return self._drive.trace_hash

    def record(self, on: bool = True) -> None:
        """From now on there are records of commands, jobs, flash operations: see `take_records`."""
        self._drive.record(on)

    def take_records(self) -> Batch:
        """The records since the last time, as the live reader gives them (csdrive.live), and what the drive has counted until now."""
        arrays = {name: np.frombuffer(data, dtype=DTYPES[name]) for name, data in self._drive.take_records()}
        return Batch(**arrays, lost={name: 0 for name in arrays})

    def idle(self, ns: int) -> None:
        """Lets virtual time pass."""
        self._drive.idle(ns)

    # Blocks.

    def write_blocks(self, first: int, data: Bytes) -> int:
        """Writes bytes from a block on; the rest of the last block becomes zero. Gives the number of blocks."""
        data = _bytes(data)
        count = -(-len(data) // self.block_size)
        self._drive.write_blocks(first, data.ljust(count * self.block_size, b"\0"))
        return count

    def read_blocks(self, first: int, count: int) -> np.ndarray:
        """Reads blocks: an array of bytes (uint8), which `view` shows as other numbers."""
        return np.frombuffer(self._drive.read_blocks(first, count), dtype=np.uint8)

    def flush(self) -> None:
        """Waits until everything written is in flash."""
        self._drive.flush()

    # Crashes.

    def keep_history(self, path: Path) -> None:
        """Flushes; from then on a history of what is written goes to a new file, for `csdrive crashtest`: complete after each flush and mark."""
        self._drive.keep_history(path)

    def mark(self, text: str) -> None:
        """Says in the history how far the host has come; the checker of `csdrive crashtest` is told."""
        self._drive.mark(text)

    # Device memory. Places and sizes of copies are multiples of four.

    def write_memory(self, start: int, data: Bytes) -> None:
        """Writes bytes to device memory."""
        self._drive.write_memory(start, _bytes(data))

    def read_memory(self, start: int, size: int) -> np.ndarray:
        """Reads bytes of device memory (uint8)."""
        return np.frombuffer(self._drive.read_memory(start, size), dtype=np.uint8)

    def copy_blocks(self, first: int, count: int, to: int) -> None:
        """Copies blocks to device memory, within the drive."""
        self._drive.copy_blocks(first, count, to)

    def copy_memory(self, start: int, size: int, to: int) -> None:
        """Copies device memory to another place in it."""
        self._drive.copy_memory(start, size, to)

    # Programs.

    def load(self, program: Union[Path, bytes], *, index: Optional[int] = None) -> int:
        """Loads and activates a program: a path of C source (with clang) or of a BPF object, or an object's bytes. Gives its index."""
        index = self._free(index)
        if isinstance(program, bytes):
            self._drive.load_object(index, program)
        else:
            self._drive.load_file(index, program)
        self._loaded.add(index)
        return index

    def declare(self, ns: int, *, index: Optional[int] = None) -> int:
        """Loads a program without code, which takes a time. Gives its index."""
        index = self._free(index)
        self._drive.load_declared(index, ns)
        self._loaded.add(index)
        return index

    def unload(self, index: int) -> None:
        """Takes a program away."""
        self._drive.unload(index)
        self._loaded.discard(index)

    def _free(self, index: Optional[int]) -> int:
        if index is not None:
            return index
        return next(n for n in range(1 << 16) if n not in self._loaded)

    def execute(
        self,
        program: int,
        ranges: Sequence[tuple[int, int]] = (),
        *,
        param1: int = 0,
        param2: int = 0,
        data: Bytes = b"",
        group: int = 0,
        run_time_ns: Optional[int] = None,
    ) -> int:
        """Executes a program on ranges of device memory, (start, size) each; gives what it returned."""
        return self._drive.execute(
            program,
            list(ranges),
            param1=param1,
            param2=param2,
            data=_bytes(data),
            group=group,
            run_time_ns=run_time_ns,
        )

    def stream(
        self,
        program: int,
        first: int,
        size: int,
        *,
        chunk: int = 1 << 20,
        in_flight: int = 4,
        output: int = 4096,
        memory: int = 0,
        overlap: Optional[int] = None,
        early: bool = False,
        param1: int = 0,
        param2: int = 0,
        data: Bytes = b"",
        group: int = 0,
        run_time_ns: Optional[int] = None,
    ) -> int:
        """Has `size` bytes of blocks, from block `first` on, processed chunk by chunk through device memory from `memory` on; gives the sum
        of what the program returned."""
        return self._drive.stream(
            program,
            first,
            size,
            memory,
            chunk,
            in_flight,
            output,
            overlap=overlap,
            early=early,
            param1=param1,
            param2=param2,
            data=_bytes(data),
            group=group,
            run_time_ns=run_time_ns,
        )

    def compound(
        self,
        program: int,
        first: int,
        count: int,
        *,
        output: int = 0,
        param1: int = 0,
        group: int = 0,
        early: bool = False,
    ) -> tuple[int, np.ndarray]:
        """Copies blocks to memory of the drive's own, runs a program on them, and reads its output back, in one command; gives what it
        returned, and the output."""
        result, bytes_ = self._drive.compound(program, first, count, output, param1=param1, group=group, early=early)
        return result, np.frombuffer(bytes_, dtype=np.uint8)

    def printed(self) -> str:
        """What programs printed since it was asked for last."""
        return self._drive.printed()

    def statistics(self) -> dict[str, Any]:
        """What the drive did since it was made: use of units, channels, dies and link, bytes by path, write amplification. As one of `drives`
        in a workload's document."""
        did: dict[str, Any] = json.loads(self._drive.statistics())
        return did
