"""What several tests need."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def command():
    """The csdrive command of this tree, or of this machine."""
    built = [ROOT / "target" / profile / "csdrive" for profile in ("release", "debug")]
    found = [str(path) for path in built if path.exists()] or [shutil.which("csdrive")]
    if found[0] is None:
        pytest.skip("no csdrive command: cargo build")
    return found[0]
