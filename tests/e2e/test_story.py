"""The acceptance story, with real Apache, ModSecurity and halb, on both address plans."""
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import plan                    # noqa: E402
from lab.setup import Setup             # noqa: E402
from lab.story import Story             # noqa: E402

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.mark.parametrize("name", ["loopback", pytest.param("vpc", marks=needs_root)])
def test_story(name):
    with Setup(name, plan.free_ports()) as setup:
        try:
            Story(setup).play()
        except Exception:
            print(setup.last_words())
            raise
