"""Records of simulations, recorded and taken."""

import json

import numpy as np
import pytest

import csdrive
from csdrive import live


def workload() -> csdrive.Workload:
    made = csdrive.Workload(runtime="5ms", seed=3)
    made.drive({"compute.units": 2}).drive({"flash.read_time": "60us"})
    made.job("reader", rw="randread", iodepth=4)
    made.job("scan", program="declared", time="200us", bs="256KiB", drives=[1])
    return made


def test_a_workload_is_built_part_by_part(tmp_path):
    made = workload()
    path = tmp_path / "load.toml"
    path.write_text(made.toml())
    result = made.run()
    for other in (csdrive.run(path), csdrive.Workload.read(path).run()):
        # They differ in how they are called.
        assert {**other, "workload": ""} == {**result, "workload": ""}
    assert [job["jobname"] for job in result["jobs"]] == ["reader", "scan"]
    assert len(result["drives"]) == 2


def test_a_recorded_run_is_read_as_arrays_and_tables(tmp_path):
    folder = tmp_path / "run"
    result = workload().run(record=folder)
    assert result == workload().run()
    recording = csdrive.Recording(folder)
    assert len(recording.serials) == 2 and recording.about["seed"] == 3
    assert recording.about["result"]["jobs"][0]["jobname"] == "reader"
    count = sum(len(recording.read("commands", drive)) for drive in range(2))
    assert count == recording.about["records"]["commands"] > 100
    commands = recording.commands
    # Stages are the whole of a command.
    assert np.array_equal(commands["stages_ns"].sum(axis=1), live.latencies_ns(commands))
    frame = recording.frame("jobs", 1)
    assert (frame["ran_ns"] == 200_000).all() and len(frame) > 5
    assert recording.batch().counters["now_ns"][-1] >= commands["completed_ns"][-1]
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(folder / "commands.parquet").to_pandas()
    first = table[table["drive"] == 0].drop(columns="drive").reset_index(drop=True)
    assert first.astype("uint64").equals(recording.frame("commands").astype("uint64"))
    with pytest.raises(csdrive.CsdriveError, match="not empty"):
        workload().run(record=folder)
    with pytest.raises(IndexError):
        recording.read("commands", 2)
    with pytest.raises(csdrive.CsdriveError, match="choose one of commands"):
        recording.read("dice")
    (folder / "jobs.parquet").write_bytes(b"no Parquet")
    with pytest.raises(csdrive.CsdriveError, match="checksum"):
        recording.read("jobs")
    with pytest.raises(csdrive.CsdriveError, match="no recorded run"):
        csdrive.Recording(tmp_path)


def test_records_of_a_drive_are_taken():
    drive = csdrive.Drive()
    drive.record()
    drive.write_blocks(0, bytes(8192))
    drive.read_blocks(0, 2)
    batch = drive.take_records()
    assert list(batch.commands["opcode"]) == [1, 2]
    assert batch.counters["host_bytes_written"][-1] == 8192
    assert len(drive.take_records().commands) == 0
    assert set(live.columns(batch.commands)) > {"id", "flash_read_ns", "status"}
    json.dumps({name: values.tolist() for name, values in live.columns(batch.links).items()})
