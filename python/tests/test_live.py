"""A served drive, looked at live."""

import os
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import csdrive
from csdrive import live

WORKLOAD = """
[[job]]
name = "reader"
rw = "randread"
iodepth = 8
number_ios = 20000
[[job]]
name = "scan"
program = "declared"
time = "20us"
bs = "16KiB"
iodepth = 2
number_ios = 500
"""


@pytest.fixture
def serve(command, tmp_path):
    started = []

    def start(*arguments):
        socket = tmp_path / "drive.sock"
        process = subprocess.Popen(
            [
                command,
                "serve",
                "--json",
                "--socket",
                socket,
                "--set",
                "drive.serial=PYLIVE",
                "--set",
                "drive.capacity=256MiB",
                *arguments,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert "ready" in process.stdout.readline()
        return process, socket

    yield start
    for process in started:
        process.kill()
        process.wait()
    live.path_of("PYLIVE").unlink(missing_ok=True)


def test_nothing_is_lost_whoever_comes_first(command, serve, tmp_path):
    workload = tmp_path / "w.toml"
    workload.write_text(WORKLOAD)
    batches, stop = [], threading.Event()

    def watch():
        for batch in live.follow("PYLIVE", interval=0.02, timeout=60):
            batches.append(batch)
            if stop.is_set():
                return

    # The reader comes first, the drive later.
    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(0.2)
    _, socket = serve("--records")
    second = csdrive.live.Reader("PYLIVE")
    time.sleep(0.1)
    subprocess.run([command, "workload", workload, "--device", socket], check=True, capture_output=True, timeout=120)
    time.sleep(0.3)
    stop.set()
    watcher.join()
    commands = np.concatenate([batch.commands for batch in batches])
    assert sum(sum(batch.lost.values()) for batch in batches) == 0
    io = commands[commands["sqid"] > 0]
    reads = io[(io["csi"] == 0) & (io["opcode"] == 2)]
    assert (reads["bytes"] == 4096).sum() == 20_000
    jobs = np.concatenate([batch.jobs for batch in batches])
    assert len(jobs) == 500 and (jobs["ran_ns"] >= 20_000).all()
    # Another reader has the same, at once.
    batch = second.read()
    assert (batch.commands[-len(commands) :] == commands[-len(batch.commands) :]).all()
    assert (live.latencies_ns(reads) > 0).all() and (np.diff(commands["completed_ns"].astype(np.int64)) >= 0).all()
    frame = live.frame(jobs)
    assert len(frame) == 500 and "instructions_0" in frame and "flash_read_ns" in live.frame(reads[:3])


def test_a_drive_that_goes_and_comes(serve):
    seen = []
    process, _ = serve("--records=commands")
    reader = live.Reader("PYLIVE")
    assert len(reader.read().jobs) == 0 and not reader.is_closed
    process.send_signal(signal.SIGTERM)
    process.wait()
    assert reader.is_closed and not live.path_of("PYLIVE").exists()
    killed, _ = serve("--records")
    again = live.Reader("PYLIVE")
    killed.kill()
    killed.wait()
    assert again.is_closed and again.generation != reader.generation
    # What a killed one left is replaced.
    serve("--records")
    for batch in live.follow("PYLIVE", interval=0.01, timeout=1):
        seen.append(batch)
        if len(seen) == 3:
            break
    assert not live.Reader("PYLIVE").is_closed


def test_two_drives_of_one_name_are_refused(command, serve, tmp_path):
    serve("--records")
    second = subprocess.run(
        [command, "serve", "--records", "--socket", tmp_path / "other", "--set", "drive.serial=PYLIVE"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 2 and "drive.serial" in second.stderr


def test_files_that_are_no_rings(tmp_path):
    path = tmp_path / "ring"

    def refused(content, mode, match):
        path.write_bytes(content)
        path.chmod(mode)
        with pytest.raises(csdrive.CsdriveError, match=match):
            live.Reader(str(path))

    with pytest.raises(FileNotFoundError):
        live.Reader("NOSUCHDRIVE")
    refused(b"", 0o600, "no ring")
    refused(bytes(8192), 0o600, "no ring")
    header = bytearray(8192)
    header[:8] = b"CSDRRING"
    refused(header, 0o666, "only its owner")
    refused(header, 0o600, "version")
    struct.pack_into("<Q", header, 8, 1 | csdrive.records.VERSION << 32)
    struct.pack_into("<QQQ", header, 64, 1 | 104 << 32, 1 << 60, 4096)
    refused(header, 0o600, "not where they can be")
    assert live.path_of("a b/c".replace("/", "")) == Path("/dev/shm/csdrive-a%20bc")
    assert os.path.basename(live.path_of("CSDRIVE0001")) == "csdrive-CSDRIVE0001"


def test_five_million_records_a_second(command, tmp_path):
    """Not a time, but a ratio: a reader takes records much faster than the busiest drive makes them."""
    count = 1 << 17
    path = tmp_path / "ring"
    content = bytearray(4096 + count * 104)
    content[:8] = b"CSDRRING"
    struct.pack_into("<QQQ", content, 8, 1 | csdrive.records.VERSION << 32, 7, os.getpid())
    struct.pack_into("<QQQQQ", content, 64, 1 | 104 << 32, count, 4096, 0, 0)
    path.write_bytes(content)
    path.chmod(0o600)
    reader = live.Reader(str(path))
    taken, began = 0, time.perf_counter()
    with open(path, "r+b") as file:
        for round_ in range(1, 41):
            file.seek(64 + 24)
            file.write(struct.pack("<QQ", round_ * count // 2, round_ * count // 2))
            file.flush()
            taken += len(reader.read().commands)
    took = time.perf_counter() - began
    assert taken == 40 * count // 2
    print(f"{taken / took / 1e6:.1f} million records a second")
