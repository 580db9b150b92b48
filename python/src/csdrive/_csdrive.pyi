from os import PathLike
from typing import Callable, Optional, Union

__version__: str

class CsdriveError(Exception): ...

class Drive:
    warnings: list[str]
    block_size: int
    blocks: int
    memory_size: int
    now_ns: int
    trace_hash: int
    def __init__(
        self, config: Optional[Union[str, PathLike[str]]] = ..., set: list[str] = ..., femu: list[str] = ...
    ) -> None: ...
    def idle(self, ns: int) -> None: ...
    def write_blocks(self, first: int, data: bytes) -> None: ...
    def read_blocks(self, first: int, count: int) -> bytes: ...
    def flush(self) -> None: ...
    def write_memory(self, start: int, data: bytes) -> None: ...
    def read_memory(self, start: int, size: int) -> bytes: ...
    def copy_blocks(self, first: int, count: int, to: int) -> None: ...
    def copy_memory(self, start: int, size: int, to: int) -> None: ...
    def load_file(self, index: int, path: Union[str, PathLike[str]]) -> None: ...
    def load_object(self, index: int, object: bytes) -> None: ...
    def load_declared(self, index: int, ns: int) -> None: ...
    def unload(self, index: int) -> None: ...
    def execute(
        self,
        program: int,
        ranges: list[tuple[int, int]],
        param1: int = ...,
        param2: int = ...,
        data: bytes = ...,
        group: int = ...,
        run_time_ns: Optional[int] = ...,
    ) -> int: ...
    def stream(
        self,
        program: int,
        first: int,
        size: int,
        memory: int,
        chunk: int,
        in_flight: int,
        output: int,
        overlap: Optional[int] = ...,
        early: bool = ...,
        param1: int = ...,
        param2: int = ...,
        data: bytes = ...,
        group: int = ...,
        run_time_ns: Optional[int] = ...,
    ) -> int: ...
    def compound(
        self,
        program: int,
        first: int,
        count: int,
        output: int,
        param1: int = ...,
        group: int = ...,
        early: bool = ...,
    ) -> tuple[int, bytes]: ...
    def printed(self) -> str: ...
    def statistics(self) -> str: ...

def run_workload(
    name: str,
    text: str,
    folder: Union[str, PathLike[str]],
    set_workload: list[str],
    set_drive: list[str],
    progress: Optional[Callable[[float], None]] = ...,
) -> str: ...
def to_toml(document: str) -> str: ...
def config_keys() -> list[tuple[str, str, str, str]]: ...
