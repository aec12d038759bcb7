"""The next test finds its process as the one before found it."""

from pathlib import Path

from tests.inner_run import outcome

TESTS = """
import logging
import os

import structlog
from structlog.testing import capture_logs

from ogpu_provider import telemetry

def test_a_command_sets_up_the_log():
    telemetry.configure(level="error", format="text")

def test_the_next_one_sees_every_line():
    with capture_logs() as logs:
        structlog.get_logger().info("told")
    assert [line["event"] for line in logs] == ["told"]
    assert logging.getLogger().level == logging.WARNING

def test_that_changes_the_environment():
    os.environ["LEFT"] = "1"
"""


def test_the_log_is_put_back_and_any_other_change_fails_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_left.py").write_text(TESTS)
    printed = outcome(tmp_path, "tests.leftovers")
    assert "3 passed, 1 error" in printed, printed
    assert "ERROR test_left.py::test_that_changes_the_environment" in printed
    assert "this test leaves its process other than it found it" in printed
    without = outcome(tmp_path)
    assert "FAILED test_left.py::test_the_next_one_sees_every_line" in without, without
