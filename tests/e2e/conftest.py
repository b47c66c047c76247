"""Fixtures of the end-to-end tests, and halb's log beside every failure."""
import os
import pathlib
import pwd
import shutil
import tempfile

import pytest

pytest.register_assert_rewrite("lib")

from lib import Place  # noqa: E402
from lib.halb import running  # noqa: E402


@pytest.fixture
def place(tmp_path):
    """An empty Place of this test alone."""
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture
def one(place):
    """A balancer over one instance that the test plays: (balancer, instance)."""
    web = place.instance()
    balancer = place.balancer([web])
    place.start()
    return balancer, web


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory):
    """A Place for the tests of a file that change nothing in it."""
    made = Place(tmp_path_factory.mktemp("place"))
    yield made
    made.close()


@pytest.fixture
def open_place():
    """A Place in a folder that belongs to nobody, for a halb that root starts and that runs as nobody."""
    nobody = pwd.getpwnam("nobody")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="halb-e2e-"))
    state = folder / "state"
    state.mkdir()
    for path in (folder, state):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    folder.chmod(0o755)
    place = Place(folder)
    place.process["user"] = "nobody"
    yield place
    place.close()
    shutil.rmtree(folder)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for halb in running:
            report.sections.append((f"log of halb {halb.pid}", halb.log()))
