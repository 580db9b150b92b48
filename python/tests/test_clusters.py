"""Sweeps on Dask, Ray and HyperQueue give what they give here. Each is skipped, and says so, where it is not installed."""

import sys

import pytest

import csdrive

WORKLOAD = {
    "drive": [{"set": {"drive": {"capacity": "64MiB"}}}],
    "job": [{"name": "scan", "program": "declared", "time": "50us", "bs": "16KiB", "number_ios": 50, "iodepth": 4}],
}
VARY = {
    "compute.units": [1, 2, 3, 4],
    "job.scan.iodepth": list(range(1, 11)),
    "flash.read_time": [f"{us}us" for us in [20, 40, 60, 80, 100]],
}


@pytest.fixture(scope="module")
def serial():
    frame = csdrive.sweep(WORKLOAD, VARY, processes=1, progress=False)
    assert len(frame) == 200
    return frame


def test_two_dask_workers(serial):
    distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            frame = csdrive.sweep(WORKLOAD, VARY, executor=client, progress=False)
    assert frame.equals(serial)


def test_a_ray_worker(serial):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        frame = csdrive.sweep(WORKLOAD, VARY, executor=csdrive.Ray(), progress=False)
    finally:
        ray.shutdown()
    assert frame.equals(serial)


def test_a_hyperqueue_worker(tmp_path):
    hyperqueue = pytest.importorskip("hyperqueue", reason="hyperqueue is not installed")
    from hyperqueue.cluster import WorkerConfig
    from hyperqueue.task.function import PythonEnv

    # A process for each point.
    vary = {"compute.units": [1, 2], "job.scan.iodepth": [1, 2, 8]}
    expected = csdrive.sweep(WORKLOAD, vary, processes=1, progress=False)
    with hyperqueue.LocalCluster(str(tmp_path / "server"), WorkerConfig(cores=2)) as cluster:
        client = cluster.client(python_env=PythonEnv(python_bin=sys.executable))
        executor = csdrive.HyperQueue(client, tmp_path / "points")
        frame = csdrive.sweep(WORKLOAD, vary, executor=executor, progress=False)
    assert frame.equals(expected)
