"""The agent of one machine as a whole."""

import logging
import threading
from pathlib import Path

import pytest

from device_agent import agent
from device_agent.outbox_file import FILE_NAME
from device_agent.settings import load


def test_agent_records_without_its_local_socket_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "agent.sock").mkdir()
    flags = {"device_id": "D-1", "mqtt_url": "mqtt://127.0.0.1:1", "data_dir": str(tmp_path)}
    stopping = threading.Event()
    stopping.set()

    with caplog.at_level(logging.WARNING):
        agent.run(load(flags, {}), stopping)

    assert "cannot ask this agent" in caplog.text
    assert (tmp_path / FILE_NAME).exists()
