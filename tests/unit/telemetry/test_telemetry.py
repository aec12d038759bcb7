"""Log lines: readable by machines, and never with a key in them."""

import io
import json
import logging
from datetime import datetime
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider import telemetry

KEY = "0x" + "5eed" * 16
TX = "0x" + "ab" * 32


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_are_json_off_a_terminal_with_utc_times() -> None:
    out = io.StringIO()
    telemetry.configure(stream=out)
    structlog.get_logger().info("task_submitted", task="0x1", tx=TX)
    (line,) = lines(out)
    assert line["event"] == "task_submitted"
    assert line["level"] == "info"
    assert line["tx"] == TX
    offset = datetime.fromisoformat(line["at"]).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0


def test_text_is_for_people() -> None:
    out = io.StringIO()
    telemetry.configure(stream=out, format="text")
    structlog.get_logger().warning("source_unfit", password="hunter2")
    assert "source_unfit" in out.getvalue()
    assert "hunter2" not in out.getvalue()
    assert not out.getvalue().startswith("{")


def test_lines_of_libraries_come_out_the_same_way_and_level_counts() -> None:
    out = io.StringIO()
    telemetry.configure(stream=out, level="warning")
    logging.getLogger("some.library").warning("said %s", "this")
    logging.getLogger("some.library").info("too quiet")
    structlog.get_logger().info("too_quiet")
    (line,) = lines(out)
    assert (line["event"], line["logger"]) == ("said this", "some.library")


@pytest.mark.parametrize("name", ["private_key", "key", "Password", "master_private_key", "api_key", "auth_token"])
def test_telling_fields_are_redacted_at_any_depth(name: str) -> None:
    out = io.StringIO()
    telemetry.configure(stream=out)
    structlog.get_logger().info("x", **{name: KEY}, inner={"list": [{name: KEY}]}, intent_key="attempt:0x1")
    assert KEY not in out.getvalue()
    assert lines(out)[0]["intent_key"] == "attempt:0x1"


def test_a_registered_secret_is_taken_out_of_everything() -> None:
    out = io.StringIO()
    telemetry.configure(stream=out, secrets=[KEY])
    log = structlog.get_logger()
    log.info(f"event {KEY}", url=f"https://x/{KEY[2:].upper()}", raw=bytes.fromhex(KEY[2:]), error=ValueError(KEY))
    logging.getLogger("library").error("message %s", KEY)
    try:
        raise ValueError(KEY)
    except ValueError:
        log.exception("boom")
        logging.getLogger("library").exception("boom")
    assert "5eed" not in out.getvalue().lower()
    assert "ValueError" in out.getvalue()
    assert len(lines(out)) == 4


@given(st.text(), st.text())
def test_no_surrounding_text_hides_a_registered_secret(before: str, after: str) -> None:
    redaction = telemetry.Redaction()
    redaction.register(KEY)
    event = redaction(None, "info", {"event": before + KEY + after, "more": (before, [KEY[2:] + after])})
    assert KEY[2:] not in str(event)


def test_each_daemon_has_its_own_metrics() -> None:
    first, second = telemetry.Metrics(), telemetry.Metrics()
    first.task_transitions.labels(state="settled").inc()
    assert 'ogpu_task_transitions_total{state="settled"} 1.0' in first.text()
    assert "settled" not in second.text()
