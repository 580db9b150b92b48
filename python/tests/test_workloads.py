"""Workloads and sweeps."""

import concurrent.futures
import json
import subprocess
import sys
from pathlib import Path

import pytest

import csdrive
from csdrive import plots
from csdrive.sweeps import points

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

READER = {
    "seed": 3,
    "number_ios": 500,
    "drive": [{"set": {"compute": {"units": 2}}}],
    "job": [
        {"name": "reader", "rw": "randread", "iodepth": 4},
        {"name": "scan", "program": "declared", "time": "50us", "bs": "64KiB", "number_ios": 200, "assert": ["p99 < 10s"]},
    ],
}


def reader(**more):
    return json.loads(json.dumps({key: value for key, value in READER.items() if key != "number_ios"} | more))


@pytest.fixture
def workload():
    document = reader()
    document["job"][0]["number_ios"] = 500
    return document


def test_a_dict_is_a_file(workload, tmp_path):
    result = csdrive.run(workload)
    assert result["jobs.reader.read.total_ios"] == 500
    assert result["jobs.scan.execute.lat_ns.p99"] == result["jobs"][1]["execute"]["lat_ns"]["percentile"]["99.000000"]
    assert result.holds and result["jobs.0.read.iops"] > 0
    numbers = result.numbers()
    assert numbers["jobs.reader.read.lat_ns.p99.9"] >= numbers["jobs.reader.read.lat_ns.p50"] > 0
    assert not any(place.startswith("jobs.reader.write") for place in numbers), "nothing was written"
    assert csdrive.run(workload) == result, "equal runs are equal"
    # The command line says the same of the same file.
    file = tmp_path / "w.toml"
    file.write_text(
        'seed = 3\n[[drive]]\nset = { compute.units = 2 }\n[[job]]\nname = "reader"\nrw = "randread"\niodepth = 4\nnumber_ios = 500\n'
        '[[job]]\nname = "scan"\nprogram = "declared"\ntime = "50us"\nbs = "64KiB"\nnumber_ios = 200\nassert = ["p99 < 10s"]\n'
    )
    from_file = csdrive.run(file)
    assert {**from_file, "workload": ""} == {**result, "workload": ""}


def test_settings_are_the_workloads_and_the_drives(workload):
    slow = csdrive.run(workload, {"flash.read_time": "1ms", "job.reader.iodepth": 1})
    assert slow["jobs.reader.read.lat_ns.min"] > 1_000_000
    shares = []
    csdrive.run(workload, progress=shares.append)
    assert all(0 <= share <= 1 for share in shares)


def test_a_run_can_be_interrupted(workload):
    workload["job"][0]["number_ios"] = 100_000_000

    def enough(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        csdrive.run(workload, progress=enough)


def test_mistakes_name_what_is_wrong(workload):
    workload["job"][0]["iodept"] = 4
    with pytest.raises(csdrive.CsdriveError, match="iodept"):
        csdrive.run(workload)
    with pytest.raises(FileNotFoundError):
        csdrive.run("nowhere.toml")
    del workload["job"][0]["iodept"]
    with pytest.raises(csdrive.CsdriveError, match="compute.units"):
        csdrive.run(workload, {"compute.units": "many"})
    workload["job"][0]["name"] = None
    with pytest.raises(csdrive.CsdriveError, match="None"):
        csdrive.run(workload)
    with pytest.raises(KeyError, match="there is no writer, but reader, scan"):
        csdrive.run(
            reader(job=[{"name": "reader", "rw": "read", "number_ios": 1}, {"name": "scan", "rw": "read", "number_ios": 1}])
        )["jobs.writer"]


VARY = {"compute.units": [1, 2], "job.scan.time": ["50us", "500us"], "job.reader.iodepth": [1, 8]}


def test_a_sweep_does_not_depend_on_where_it_runs(workload):
    frame = csdrive.sweep(workload, VARY, progress=False)
    assert list(frame["compute.units"]) == [1] * 4 + [2] * 4 and len(frame) == 8
    with concurrent.futures.ThreadPoolExecutor(1) as one_by_one:
        serial = csdrive.sweep(workload, VARY, executor=one_by_one, progress=False)
    assert frame.equals(serial)
    alone = csdrive.run(workload, points(VARY)[5])
    assert frame.attrs["documents"][5] == alone
    assert frame["jobs.reader.read.iops"][5] == alone["jobs.reader.read.iops"]


def test_an_interrupted_sweep_goes_on(workload, tmp_path):
    results = tmp_path / "results.jsonl"
    whole = csdrive.sweep(workload, VARY, results=results, progress=False)
    kept = results.read_bytes().splitlines(keepends=True)
    assert len(kept) == 8
    # The last line was being written.
    results.write_bytes(b"".join(kept[:5]) + kept[5][:40])

    class Counting(concurrent.futures.ThreadPoolExecutor):
        started = 0

        def submit(self, *arguments):
            Counting.started += 1
            return super().submit(*arguments)

    with Counting(1) as executor:
        again = csdrive.sweep(workload, VARY, results=results, executor=executor, progress=False)
    assert Counting.started == 3 and again.equals(whole)
    # Another workload is not this one's results.
    workload["seed"] = 4
    with Counting(1) as executor:
        Counting.started = 0
        csdrive.sweep(workload, VARY, results=results, executor=executor, progress=False)
    assert Counting.started == 8


def test_two_threads_run_at_a_time(workload):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        both = list(pool.map(csdrive.run, [workload, workload]))
    assert both[0] == both[1]


def test_figures(workload, tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    result = csdrive.run(workload)
    slow = csdrive.run(workload, {"flash.read_time": "200us"})
    figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    plots.cdf({"fast": result, "slow": slow}, "reader", "read", axes=axes[0, 0])
    plots.series(result, "scan", axes=axes[0, 1])
    plots.utilisation({"fast": result, "slow": slow}, axes=axes[1, 0])
    frame = csdrive.sweep(
        EXPERIMENTS / "pushdown.toml",
        {"job.scan.output_ratio": [0.1, 0.5, 1.0], "job.scan.on": ["drive", "host"]},
        {"runtime": "30ms", "ramp_time": "5ms"},
        progress=False,
    )
    plots.lines(frame, "job.scan.output_ratio", "jobs.scan.execute.bw_bytes", "job.scan.on", axes=axes[1, 1])
    at = plots.break_even(frame, "job.scan.output_ratio", "jobs.scan.execute.bw_bytes", "job.scan.on", ["drive", "host"])
    assert at is not None and 0.1 < at <= 1.0
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert axes[0, 0].get_lines()[0].get_xdata()[0] > 0


def test_a_script_may_sweep_without_a_main_guard_in_a_notebook(tmp_path):
    """Processes of the pool are made anew, as on other systems: what a script does at its top is done once if it is guarded."""
    script = tmp_path / "script.py"
    script.write_text(
        "import csdrive\n"
        "if __name__ == '__main__':\n"
        "    frame = csdrive.sweep({'job': [{'name': 'r', 'rw': 'read', 'number_ios': 10}]}, {'compute.units': [1, 2]}, progress=False)\n"
        "    print(len(frame), frame['jobs.r.read.total_ios'].sum())\n"
    )
    output = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert output.stdout == "2 20\n", output.stderr
