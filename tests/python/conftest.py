"""The real executable in front of the harness's vLLM, as processes of their own.

`cargo xtask ci` says in GATEWAY_TEST_BINARY and GATEWAY_TEST_UPSTREAM which
programs to start.
"""

import json
import os
import subprocess
import urllib.request

import pytest


class Program:
    """A server that prints `listening on http://…`."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for line in self.process.stdout:
            if "listening on " in line:
                self.url = line.split("listening on ")[1].strip()
                return
        raise RuntimeError(f"{command[0]} ended with {self.process.wait()}")

    def get(self, path):
        with urllib.request.urlopen(self.url + path) as reply:
            return json.load(reply)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Gateway(Program):
    """The gateway in a folder of its own."""

    def __init__(self, folder, upstream, config=""):
        file = folder / "gateway.yaml"
        file.write_text(config)
        super().__init__(
            os.environ["GATEWAY_TEST_BINARY"],
            "--config", str(file),
            "--port", "0",
            "--db-path", str(folder / "gateway.db"),
            "--worker", upstream.url,
        )

    def traces(self, session, query=""):
        return self.get(f"/sessions/{session}/traces{query}")

    def trace(self, session):
        traces = self.traces(session)
        assert len(traces) == 1, traces
        return traces[0]


@pytest.fixture
def upstream():
    program = Program(os.environ["GATEWAY_TEST_UPSTREAM"])
    yield program
    program.stop()


@pytest.fixture
def gateway(tmp_path, upstream):
    program = Gateway(tmp_path, upstream)
    yield program
    program.stop()


@pytest.fixture
def guarded(tmp_path, upstream):
    """A gateway that asks for a token."""
    program = Gateway(tmp_path, upstream, "inbound_auth_token: the-token\n")
    yield program
    program.stop()
