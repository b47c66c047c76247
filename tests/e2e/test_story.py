"""The acceptance story, with real Apache, ModSecurity and halb, on both address plans."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import netns, plan             # noqa: E402
from lab.setup import Setup             # noqa: E402
from lab.story import Story             # noqa: E402

needs_namespaces = pytest.mark.skipif(not netns.available(), reason="network namespaces need root")


@pytest.mark.parametrize("name", ["loopback", pytest.param("vpc", marks=needs_namespaces)])
def test_story(name):
    with Setup(name, plan.free_ports()) as setup:
        try:
            Story(setup).play()
        except Exception:
            print(setup.last_words())
            raise
