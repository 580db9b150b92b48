"""The queries in examples/queries, on a recorded run."""

from pathlib import Path

import numpy as np
import pytest

import csdrive
from csdrive import live

QUERIES = Path(__file__).parents[2] / "examples" / "queries"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queries") / "run"
    workload = csdrive.Workload(runtime="20ms")
    workload.drive({"compute.units": 2, "drive.capacity": "64MiB", "flash.blocks_per_plane": 0})
    workload.job("reader", rw="randrw", iodepth=8, fill=True)
    workload.job("scan", program="declared", time="300us", bs="256KiB", iodepth=3)
    workload.run(record=folder)
    return csdrive.Recording(folder)


def ask(run, name, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(run.path)
    return duckdb.sql((QUERIES / name).read_text()).df()


def test_every_query_answers(run, monkeypatch):
    for path in QUERIES.glob("*.sql"):
        assert len(ask(run, path.name, monkeypatch)) > 0, path.name


def test_the_slowest_are_those_from_p99_on(run, monkeypatch):
    answer = ask(run, "where-the-slowest-waited.sql", monkeypatch)
    reads = run.commands[(run.commands["opcode"] == 2) & (run.commands["csi"] == 0)]
    latencies = live.latencies_ns(reads)
    slowest = latencies[latencies >= np.percentile(latencies, 99, method="inverted_cdf")]
    row = answer[(answer.csi == 0) & (answer.opcode == 2) & answer.slowest].iloc[0]
    assert row.commands == len(slowest)
    assert row.latency_ns == pytest.approx(slowest.mean())


def test_shares_are_those_of_the_jobs(run, monkeypatch):
    answer = ask(run, "shares-of-units.sql", monkeypatch)
    assert answer.share.sum() == pytest.approx(1)
    assert answer.jobs.sum() == len(run.jobs)
