"""A database that the reference itself wrote, imported: the reference's client reads from this gateway
what it read from the reference."""

import asyncio
import hashlib
import json
import os
import sqlite3
import subprocess

import openai_replies
import pytest
from conftest import Gateway
from rllm_model_gateway.client import GatewayClient
from rllm_model_gateway.data_process import build_trace_record, build_trace_record_from_chunks
from rllm_model_gateway.models import TraceRecord
from rllm_model_gateway.store.sqlite_store import SqliteTraceStore

BINARY = os.environ["GATEWAY_TEST_BINARY"]

COMPLETION = openai_replies.completion(
    openai_replies.choice(0, content="Sunny", logprobs=openai_replies.logprobs("Sunny")),
    openai_replies.choice(
        1,
        finish_reason="tool_calls",
        tool_calls=[openai_replies.function_call(1, "weather", '{"city":"Paris"}')],
    ),
)
CALLED = openai_replies.completion(
    openai_replies.choice(
        0,
        finish_reason="tool_calls",
        tool_calls=[openai_replies.function_call(0, "weather", '{"city":"Paris"}')],
    ),
)


def with_ids(completion):
    """As vLLM answers when it is asked for ids."""
    reply = json.loads(json.dumps(completion))
    reply["prompt_token_ids"] = [1, 2, 3]
    for choice in reply["choices"]:
        entries = (choice.get("logprobs") or {}).get("content") or []
        choice["token_ids"] = list(range(len(entries)))
        choice["message"]["refusal"] = None
    return reply


def chunks(completion):
    events = openai_replies.chunks(completion)
    return [json.loads(event.decode().partition("data: ")[2]) for event in events]


def request(*said, **more):
    messages = [{"role": "user", "content": text} for text in said]
    body = {"model": "tiny", "messages": messages, "logprobs": True, "return_token_ids": True}
    return {**body, "temperature": 1.0, "seed": 12345678901234567890123, **more}


def records():
    """Turns of two sessions as the reference records them."""
    whole, called = with_ids(COMPLETION), with_ids(CALLED)
    yield build_trace_record("org/s:0", request("Hi"), whole, 12.5)
    yield build_trace_record("org/s:0", request("Hi", "é \ud83d\ude00 \u2028"), called, 7.0)
    stream = request("Hi", stream=True)
    yield build_trace_record_from_chunks("org/s:0", stream, chunks(COMPLETION), 3.25)
    yield build_trace_record_from_chunks("org/s:0", stream, chunks(CALLED), 4.5)
    yield build_trace_record("other", request("Ho"), whole, 1.0, metadata={"k": [1, 2.5]})
    yield TraceRecord(
        trace_id="bare", session_id="other", model="m", messages=[{"role": "user"}],
        response_message={"role": "assistant", "content": "Ho"}, completion_token_ids=[5],
    )


def write(path, traces, client=TraceRecord):
    """Stores them as the reference does, and gives what its client then reads."""

    async def stored():
        store = SqliteTraceStore(str(path))
        for trace in traces:
            await store.store_trace(trace.trace_id, trace.session_id, trace.model_dump())
        read = {}
        for session in await store.list_sessions():
            name = session["session_id"]
            read[name] = [client(**one) for one in await store.get_session_traces(name)]
        await store.close()
        return read

    return asyncio.run(stored())


def run_import(old, folder):
    command = [BINARY, "import", str(old), "--db-path", str(folder / "gateway.db")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def serve(tmp_path):
    """Starts a gateway on what was imported."""
    started = []

    def start():
        started.append(Gateway(tmp_path))
        return started[0]

    yield start
    for gateway in started:
        gateway.check_traces()
        gateway.stop()


def test_the_client_reads_what_it_read(tmp_path, serve):
    old = tmp_path / "old.db"
    before = write(old, records())
    untouched = digest(old)
    for imported, known in [(6, 0), (0, 6)]:
        done = run_import(old, tmp_path)
        said = f"traces imported: {imported}, already there: {known}, unreadable: 0\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert digest(old) == untouched
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "gateway.db", "gateway.db-journal.d", "old.db",
    ]

    gateway = serve()
    with GatewayClient(gateway.url) as client:
        for session, expected in before.items():
            found = client.get_session_traces(session)
            for now, then in zip(found, expected, strict=True):
                assert now == then
            assert client.get_session_info(session)["trace_count"] == len(expected)
            assert client.get_trace(expected[0].trace_id) == expected[0]
        listed = {one["session_id"]: one["trace_count"] for one in client.list_sessions()}
        assert listed == {session: len(traces) for session, traces in before.items()}
        assert client.delete_session("other") == 2


def test_what_broke_the_reference_s_listing(tmp_path, serve):
    """Defect 17: one such row makes a whole session's listing a 500 there."""
    old = tmp_path / "old.db"
    odd, good, broken, failed = list(records())[:4]
    odd.raw_response["choices"][0]["logprobs"]["content"][0]["logprob"] = float("-inf")
    odd.logprobs = [float("-inf")]
    odd.messages[0]["content"] = "lone \ud800"
    odd.raw_request["messages"] = odd.messages
    failed.raw_response = {"error": {"message": "slow down", "code": 429}}
    failed.response_message, failed.finish_reason, failed.completion_token_ids = {}, None, []
    write(old, [good, odd, broken, failed], client=dict)
    with sqlite3.connect(old) as database:
        sql = "UPDATE traces SET data = substr(data, 1, 99) WHERE trace_id = ?"
        database.execute(sql, (broken.trace_id,))
    database.close()

    done = run_import(old, tmp_path)
    assert done.returncode == 0
    assert done.stdout == (
        "traces imported: 4, already there: 0, unreadable: 1; "
        f"kept as their text: {broken.trace_id}\n"
    )
    assert broken.trace_id in done.stderr
    gateway = serve()
    traces = gateway.traces("org%2Fs:0", "?outcome=all")
    assert [trace["outcome"] for trace in traces] == [
        "completed", "completed", "upstream_error", "upstream_error",
    ]
    assert traces[1]["messages"][0]["content"] == "lone \ud800"
    assert traces[1]["logprobs"] is None
    assert traces[2]["raw_response"]["_body"].startswith('{"trace_id": ')
    assert traces[3]["error"]["code"] == "429"
    with GatewayClient(gateway.url) as client:
        assert len(client.get_session_traces("org/s:0")) == 2


def test_it_is_refused_where_it_is_to_be_served(tmp_path):
    old = tmp_path / "old.db"
    write(old, records())
    untouched = digest(old)
    for arguments in [["--port", "0", "--db-path", str(old)], ["check", str(old)]]:
        done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"`rllm-model-gateway import {old}`" in done.stderr
    assert digest(old) == untouched
    assert [path.name for path in tmp_path.iterdir()] == ["old.db"]
