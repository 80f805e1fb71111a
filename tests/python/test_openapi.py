"""Schemathesis asks everything that the OpenAPI document allows, and much that it does not."""

import json
import pathlib
import subprocess
import sys
import urllib.request

import pytest

# No worker that it registers is ever asked whether it is well, and refusals are not worth a line.
CONFIG = "health_check_interval: 86400\nlog_level: ERROR\n"


def lived_in(gateway):
    """Leaves traces of every kind, in two runs."""
    for session, run, stream in [("a", "r", False), ("org/b:0", "r", True), ("a", None, True)]:
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
        call(gateway, f"/sessions/{session}/v1/chat/completions", body, run)
    # Nothing can delete what belongs to no session.
    call(gateway, "/v1/chat/completions", {"model": "m", "messages": [{"content": "hi"}]}, "r")
    call(gateway, "/sessions/a/v1/completions", {"model": "m", "prompt": "hi"}, "r")
    call(gateway, "/sessions/a/v1/chat/completions", {"model": "m", "messages": 7}, "r")


def call(gateway, path, body, run):
    headers = {"X-RLLM-Run-Id": run} if run else {}
    data = json.dumps(body).encode()
    try:
        urllib.request.urlopen(urllib.request.Request(gateway.url + path, data, headers)).read()
    except urllib.error.HTTPError as refused:
        refused.read()


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_fails_and_every_answer_fits(start, upstream, tmp_path, seed):
    gateway = start(CONFIG, "--worker", upstream.url)
    lived_in(gateway)
    run = subprocess.run(
        [
            pathlib.Path(sys.executable).parent / "st",
            "--config-file", pathlib.Path(__file__).parent / "schemathesis.toml",
            "run", f"{gateway.url}/openapi.json",
            "--max-examples", "25", "--seed", str(seed), "--no-color",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=120, cwd=tmp_path,
    )
    assert run.returncode == 0, run.stdout
    paths = gateway.get("/openapi.json")["paths"]
    # It does not ask for the document itself.
    del paths["/openapi.json"]
    count = sum(len(operations) for operations in paths.values())
    assert f"Tested: {count}\n" in run.stdout, run.stdout
