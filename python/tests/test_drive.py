"""Simulated drives, as a user has them."""

from pathlib import Path

import numpy as np
import pytest

import csdrive

PROGRAMS = Path(__file__).parents[2] / "examples" / "programs"


def drive(**settings):
    return csdrive.Drive({"drive.capacity": "64MiB", "memory.size": "8MiB", "flash.keep_data": True, **settings})


def test_a_program_works_on_arrays():
    one = drive()
    numbers = np.arange(4096, dtype=np.uint32)
    assert one.write_blocks(0, numbers) == 4
    one.copy_blocks(0, 4, 16384)
    program = one.load(PROGRAMS / "double.bpf.o")
    assert one.execute(program, [(0, 16384), (16384, 16384)]) == 4096
    assert (one.read_memory(0, 16384).view(np.uint32) == 2 * numbers).all()
    assert (one.read_blocks(1, 1).view(np.uint32) == numbers[1024:2048]).all()
    one.unload(program)
    with pytest.raises(csdrive.CsdriveError, match="Activated|No Program|program"):
        one.execute(program)


def test_the_clock_is_the_drives():
    one, other = drive(), drive()
    program = one.declare(50_000)
    before = one.now_ns
    one.execute(program)
    plain = one.now_ns - before
    before = one.now_ns
    one.execute(program, run_time_ns=150_000)
    assert one.now_ns - before == plain + 100_000
    before = one.now_ns
    one.idle(1000)
    assert one.now_ns == before + 1000
    other.declare(50_000)
    other.execute(0)
    other.execute(0, run_time_ns=150_000)
    other.idle(1000)
    assert (one.now_ns, one.trace_hash) == (other.now_ns, other.trace_hash)


def test_streams_and_compound_executions():
    one = drive()
    lines = b"".join(b"%d %s\n" % (n, b"needle" if n % 7 == 0 else b"straw") for n in range(20_000))
    one.write_blocks(0, lines)
    program = one.load(PROGRAMS / "grep-lines.bpf.o")
    for early in [False, True]:
        found = one.stream(program, 0, len(lines), chunk=16384, overlap=4096, data=b"needle", early=early)
        assert found == len(range(0, 20_000, 7))
    with pytest.raises(csdrive.CsdriveError, match="multiple of a block"):
        one.stream(program, 0, len(lines), chunk=100)
    numbers = np.arange(1024, dtype=np.uint32)
    one.write_blocks(0, numbers)
    result, output = one.compound(one.load(PROGRAMS / "double.bpf.o"), 0, 1, output=4096)
    assert result == 1024 and (output.view(np.uint32) == 2 * numbers).all()


def test_what_it_did():
    one = drive()
    one.write_blocks(0, bytes(40960))
    one.flush()
    one.read_blocks(0, 10)
    did = one.statistics()
    assert did["bytes"]["from_host"] >= 40960 and did["bytes"]["to_host"] >= 40960
    assert did["bytes"]["flash_read"] == 40960 and did["write_amplification"] == 1.0


def test_configurations_and_their_mistakes(tmp_path):
    file = tmp_path / "drive.toml"
    file.write_text('[drive]\ncapacity = "128MiB"\n[memory]\nsize = "1MiB"\n')
    one = csdrive.Drive({"drive.block_size": "512B"}, config=file, femu="nr_cu=2")
    assert (one.blocks, one.block_size, one.memory_size) == (128 << 11, 512, 1 << 20)
    assert csdrive.Drive(femu="nr_cu=2,namespaces=3").warnings
    for wrong, text in [
        ({"compute.unit": 2}, "did you mean"),
        ({"compute.units": 0}, "from 1 to 1024"),
        ({"flash.read_time": "fast"}, "flash.read_time"),
        ({"compute.native_upload": True}, "csdrive serve"),
        ({"compute.runtime_server": "tcp://localhost:4231"}, "csdrive serve"),
    ]:
        with pytest.raises(csdrive.CsdriveError, match=text):
            csdrive.Drive(wrong)
    with pytest.raises(csdrive.CsdriveError, match="nowhere"):
        csdrive.Drive(config="nowhere.toml")
    names = [key.name for key in csdrive.config_keys()]
    assert "compute.units" in names and len(names) > 60


def test_refusals_are_errors_with_remedies():
    one = drive()
    for act in [
        lambda: one.read_blocks(1 << 40, 1),
        lambda: one.write_memory(1 << 40, b"1234"),
        lambda: one.execute(9),
        lambda: one.load(PROGRAMS / "nothing.o"),
        lambda: one.load(b"no object"),
        lambda: one.compound(0, 0, 0),
    ]:
        with pytest.raises(csdrive.CsdriveError):
            act()
    with pytest.raises(OverflowError):
        one.read_blocks(-1, 1)
    with pytest.raises(TypeError):
        one.write_memory(0, "text")


def test_a_history_is_kept_and_marked(tmp_path):
    one, history = drive(), tmp_path / "history"
    with pytest.raises(csdrive.CsdriveError, match="--history"):
        one.mark("too early")
    one.keep_history(history)
    one.write_blocks(3, b"first")
    one.write_blocks(4, b"second")
    one.flush()
    one.mark("both are there")
    assert history.read_bytes().startswith(b"csdrive history 1\n") and b"both are there" in history.read_bytes()
    with pytest.raises(csdrive.CsdriveError, match="already exists"):
        one.keep_history(history)
    with pytest.raises(csdrive.CsdriveError, match="keep_data"):
        drive(**{"flash.keep_data": False}).keep_history(tmp_path / "other")
