"""csdrive: computational storage drives in Python.

Drive      a simulated drive in this process, in virtual time
Workload   what hosts do with drives, part by part
run        a workload: a Workload, a file, or a dict of the same form
Recording  what the drives of a run did, command by command
live       the same of served drives, live
sweep      a workload for every combination of settings, on all processors or on a cluster
plots      figures of what came of them (matplotlib)
"""

from . import live, plots, records
from ._csdrive import CsdriveError, __version__
from .drive import Drive, config_keys
from .recordings import Recording
from .sweeps import HyperQueue, Ray, sweep
from .workloads import Result, Workload, run

__all__ = ["CsdriveError", "Drive", "HyperQueue", "Ray", "Recording", "Result", "Workload", "__version__", "config_keys", "live", "plots", "records", "run", "sweep"]
