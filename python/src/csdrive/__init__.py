"""csdrive: computational storage drives in Python.

Drive      a simulated drive in this process, in virtual time
run        a workload: a file, or a dict of the same form
sweep      a workload for every combination of settings, on all processors or on a cluster
plots      figures of what came of them (matplotlib)
"""

from . import live, plots, records
from ._csdrive import CsdriveError, __version__
from .drive import Drive, config_keys
from .sweeps import Ray, sweep
from .workloads import Result, run

__all__ = ["CsdriveError", "Drive", "Ray", "Result", "__version__", "config_keys", "live", "plots", "records", "run", "sweep"]
