"""The real executable in front of the harness's vLLM, as processes of their own, or in front of a
provider in this process.

`cargo xtask ci` says in GATEWAY_TEST_BINARY and GATEWAY_TEST_UPSTREAM which
programs to start.
"""

import os
import subprocess
import urllib.request

import pytest

pytest.register_assert_rewrite("record", "same")

import record
from provider import Provider

ROUTES = """
routes:
  "claude-*":
    upstream_url: {url}/v1
    auth_header: x-api-key provider-key
  "*":
    upstream_url: {url}/v1
    auth_header: Bearer provider-key
"""

# So that a retry by an SDK is a call of its own.
ONE_ATTEMPT = "retry: {attempts: 1}\n"


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

    def get(self, path, **headers):
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request) as reply:
            return record.loads(reply.read())

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Gateway(Program):
    """The gateway in a folder of its own. Every trace that a test leaves in it must be one."""

    def __init__(self, folder, config="", *flags, token="none"):
        folder.mkdir(exist_ok=True)
        file = folder / "gateway.yaml"
        file.write_text(config)
        self.token = token
        super().__init__(
            os.environ["GATEWAY_TEST_BINARY"],
            "--config", str(file),
            "--port", "0",
            "--db-path", str(folder / "gateway.db"),
            *flags,
        )

    def get(self, path):
        return super().get(path, Authorization=f"Bearer {self.token}")

    def traces(self, session, query=""):
        return self.get(f"/sessions/{session}/traces{query}")

    def trace(self, session):
        traces = self.traces(session)
        assert len(traces) == 1, traces
        return traces[0]

    def check_traces(self):
        """Reads all traces as the reference's client would; returns how many there are."""
        count, page = 0, "/traces?limit=500&include=timing"
        cursor = ""
        while cursor is not None:
            feed = self.get(page + (f"&cursor={cursor}" if cursor else ""))
            for trace in feed["traces"]:
                record.check(trace)
            count, cursor = count + len(feed["traces"]), feed["next_cursor"]
        return count


@pytest.fixture
def start(tmp_path):
    """Starts gateways, and at the end holds all their traces against the record's types."""
    started = []

    def start(config="", *flags, **more):
        program = Gateway(tmp_path / str(len(started)), config, *flags, **more)
        started.append(program)
        return program

    yield start
    try:
        for program in started:
            if program.process.poll() is None:
                program.check_traces()
    finally:
        for program in started:
            program.stop()


@pytest.fixture
def upstream():
    program = Program(os.environ["GATEWAY_TEST_UPSTREAM"])
    yield program
    program.stop()


@pytest.fixture
def provider():
    server = Provider()
    yield server
    server.stop()


@pytest.fixture
def gateway(start, upstream):
    """A gateway with the harness's vLLM as its worker."""
    return start("", "--worker", upstream.url)


@pytest.fixture
def guarded(start, upstream):
    """A gateway that asks for a token."""
    config = "inbound_auth_token: the-token\n"
    return start(config, "--worker", upstream.url, token="the-token")


@pytest.fixture
def routed(start, provider):
    """A gateway with routes to the provider."""
    return start(ROUTES.format(url=provider.url) + ONE_ATTEMPT)
