"""The reference's own client, from PyPI, in front of every kind of reply that an upstream can send:
its strict record parses every trace."""

import http.client
import json
import urllib.error
import urllib.request

import anthropic_replies
import jsonschema
import openai_replies
import pydantic
import pytest
import record
from provider import Reply, sse
from rllm_model_gateway.client import GatewayClient
from rllm_model_gateway.models import TraceRecord

REQUESTS = {
    "chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "completions": {"prompt": [5, 6, 7]},
    "messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
    "responses": {"input": "Hi", "instructions": "Be brief."},
    "embeddings": {"input": "Hi"},
}
ENDPOINTS = pytest.mark.parametrize("endpoint", list(REQUESTS))

GOOD = {
    "chat/completions": openai_replies.completion(
        openai_replies.choice(0, content="Sunny", logprobs=openai_replies.logprobs("Sunny")),
        openai_replies.choice(
            1,
            finish_reason="tool_calls",
            tool_calls=[openai_replies.function_call(1, "weather", '{"city":"Paris"}')],
        ),
    ),
    "completions": openai_replies.text_completion("once", "twice"),
    "messages": anthropic_replies.message(
        anthropic_replies.THINKING,
        anthropic_replies.REDACTED,
        anthropic_replies.CITED,
        anthropic_replies.tool_use(1, "weather", {"city": "Paris"}),
        stop_reason="tool_use",
    ),
    "responses": openai_replies.response(
        openai_replies.reasoning_item("Two steps."),
        openai_replies.message_item("Sunny"),
        openai_replies.call_item("weather", '{"city":"Paris"}'),
    ),
    "embeddings": openai_replies.embeddings([0.5, -0.25]),
}
EVENTS = {
    "chat/completions": [*openai_replies.chunks(GOOD["chat/completions"]), openai_replies.DONE],
    "completions": openai_replies.text_streamed(GOOD["completions"]).events,
    "messages": anthropic_replies.events(GOOD["messages"]),
    "responses": openai_replies.response_events(GOOD["responses"]),
}

# What stands in the place of each value of a good reply, one after the other.
WRONG = [
    "null", "true", "-7", "2.5", '"text"', "[]", "{}", "[null]", '[{"index": null}]', "NaN",
    "-Infinity", "1e400", "123456789012345678901234567890", r'"\ud800"', r'{"\udc00": "\udc00"}',
]

HOSTILE = [
    b"", b"null", b"12", b'"text"', b"[]", b"[{}]", b"{}", b"NaN", b"<html><h1>502</h1></html>",
    b'{"choices":', b"\xff\xfe\x00", b"[" * 200 + b"]" * 200, b'{"a":' * 127 + b"1" + b"}" * 127,
    b'{"error": "no"}', b'{"error": {"code": 7, "message": ["?"]}}', b'{"detail": "Not Found"}',
    b'{"object": "error", "message": null, "code": 1e400}', b'{"type": "error"}',
    b'{"choices": [], "content": [], "output": [], "data": []}',
    rb'{"\ud800": "\ud800", "model": "\ud800", "choices": [{"finish_reason": "\ud800"}]}',
]


def spoilt(value):
    """The JSON of a value over and over, each time with something wrong in one place. Each place
    meets a few of the wrong values, and neighbours meet others."""
    marked = "a value to be replaced"
    for number, path in enumerate(places(value)):
        text = json.dumps(replaced(value, path, marked))
        for wrong in WRONG[number % 5 :: 5]:
            yield text.replace(json.dumps(marked), wrong).encode()


def places(value, path=()):
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for step, below in inner:
        yield (*path, step)
        yield from places(below, (*path, step))


def replaced(value, path, new):
    if not path:
        return new
    step, *rest = path
    changed = list(value) if isinstance(value, list) else dict(value)
    changed[step] = replaced(value[step], rest, new)
    return changed


def post(gateway, endpoint, session="s", body=None, **more):
    """Sends a request as it is; whatever comes back is good."""
    body = {"model": "tiny", **REQUESTS[endpoint], **more} if body is None else body
    url = f"{gateway.url}/sessions/{session}/v1/{endpoint}"
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data)) as reply:
            return reply.read()
    except urllib.error.HTTPError as refusal:
        return refusal.read()
    except (OSError, http.client.HTTPException) as error:
        return error


@pytest.fixture
def worker(start, provider):
    """A gateway with the provider as its worker: it asks for ids and log probabilities."""
    return start("", "--worker", provider.url)


def check_all(gateway, count, session="s"):
    """Every trace of a session parses, in the client's own methods too."""
    every = gateway.traces(session, "?outcome=all&span_type=all&include=timing")
    assert len(every) == count
    for trace in every:
        record.check(trace)
    with GatewayClient(gateway.url) as client:
        parsed = client.get_session_traces(session)
        plain = gateway.traces(session)
        assert [one.model_dump() for one in parsed] == [
            TraceRecord(**trace).model_dump() for trace in plain
        ]
        for trace in every[:3]:
            assert client.get_trace(trace["trace_id"]).trace_id == trace["trace_id"]
        assert client.get_session_info(session)["trace_count"] == len(plain)
    return every


def test_what_is_no_record_is_refused(worker, provider):
    """The checks of this file can fail."""
    provider.script(Reply(GOOD["chat/completions"]))
    post(worker, "chat/completions")
    trace = worker.trace("s")
    record.check(trace)
    for wrong in [
        {"messages": ["text"]}, {"token_counts": {"prompt": 2.5}}, {"token_counts": {"prompt": None}},
        {"logprobs": [None]}, {"logprobs": [-1]}, {"raw_response": []}, {"latency_ms": 7},
        {"prompt_token_ids": None}, {"finish_reason": 7}, {"step_id": "7"}, {"outcome": "good"},
        {"extra": None}, {"integrity": {}}, {"edits": {"set": {}}}, {"client": {"extra": 1}},
    ]:
        with pytest.raises((pydantic.ValidationError, jsonschema.ValidationError, AssertionError)):
            record.check({**trace, **wrong})
    with pytest.raises(ValueError, match="NaN"):
        record.loads("[NaN]")


@ENDPOINTS
def test_good_replies(worker, provider, endpoint):
    provider.script(Reply(GOOD[endpoint]))
    post(worker, endpoint)
    if endpoint in EVENTS:
        provider.script(Reply(events=EVENTS[endpoint]))
        post(worker, endpoint, stream=True)
    every = check_all(worker, 2 if endpoint in EVENTS else 1)
    assert {trace["outcome"] for trace in every} == {"completed"}
    assert {trace["has_error"] for trace in every} == {False}


@ENDPOINTS
def test_hostile_replies(worker, provider, endpoint):
    count = 0
    for body in HOSTILE:
        for status in (200, 400):
            provider.script(Reply(body, status=status))
            assert post(worker, endpoint) == body
            count += 1
        provider.script(Reply(body, headers={"content-type": "text/html"}))
        assert post(worker, endpoint, stream=True) == body
        count += 1
    check_all(worker, count)


@ENDPOINTS
def test_replies_with_one_thing_wrong(worker, provider, endpoint):
    count = 0
    for body in spoilt(GOOD[endpoint]):
        provider.script(Reply(body))
        post(worker, endpoint)
        count += 1
    assert count > 20
    check_all(worker, count)


@pytest.mark.parametrize("endpoint", list(EVENTS))
def test_streams_with_one_thing_wrong(worker, provider, endpoint):
    """In each event that is unlike all others, each value is replaced in turn."""
    events = EVENTS[endpoint]
    known, count = set(), 0
    for at, event in enumerate(events):
        head, _, data = event.decode().partition("data: ")
        if data.startswith("[DONE]"):
            continue
        value = json.loads(data)
        shape = tuple(str(path) for path in places(value)) + (head,)
        if shape in known:
            continue
        known.add(shape)
        for wrong in spoilt(value):
            bad = head.encode() + b"data: " + wrong + b"\n\n"
            provider.script(Reply(events=[*events[:at], bad, *events[at + 1 :]]))
            post(worker, endpoint, stream=True)
            count += 1
    assert count > 50
    check_all(worker, count)


@pytest.mark.parametrize("endpoint", list(EVENTS))
def test_streams_cut_anywhere(worker, provider, endpoint):
    events, count = EVENTS[endpoint], 0
    for broken in (False, True):
        for end in range(len(events)):
            provider.script(Reply(events=events[:end], broken=broken))
            post(worker, endpoint, stream=True)
            count += 1
    every = check_all(worker, count)
    assert {"truncated"} <= {trace["outcome"] for trace in every}


@pytest.mark.parametrize("endpoint", list(EVENTS))
def test_hostile_streams(worker, provider, endpoint):
    events, count = EVENTS[endpoint], 0
    odd = [sse(body.decode("latin-1").replace("\n", " ")) for body in HOSTILE if body]
    odd += [b": ping\n\n", b"data\n\n", b"event: error\n\n", b"data: [DONE]\n\n", b"\xff\xfe\n\n"]
    odd += [sse("no JSON", "error"), sse({"error": {"message": None, "code": {}}})]
    for event in odd:
        for at in (0, 1, len(events) - 1, len(events)):
            provider.script(Reply(events=[*events[:at], event, *events[at:]]))
            post(worker, endpoint, stream=True)
            count += 1
    check_all(worker, count)


@ENDPOINTS
def test_odd_requests(worker, provider, endpoint):
    count = 0
    for body in [
        b"", b"null", b"[]", b"{}", b'{"model": null}', b'{"model": 7, "stream": "yes"}', b"no JSON",
        b'{"messages": null, "prompt": null, "input": null}',
        b'{"messages": {}, "prompt": {}, "input": {}, "system": 7, "metadata": 7}',
        b'{"messages": [null, 7, "text", [], {}, {"content": [null, 7, {"type": 7}]}]}',
        b'{"input": [null, 7, "text", [], {}, {"content": [null, 7, {"type": 7}]}], "n": null}',
        b'{"prompt": [1, 2.5, null], "n": 1e400, "echo": 7, "metadata": {"rllm": 7, "a": 1e400}}',
        b'{"prompt": [[1], ["a"], 123456789012345678901234567890], "n": -7, "temperature": 1e400}',
        rb'{"\ud800": "\ud800", "messages": [{"\ud800": "\ud800"}], "metadata": {"\ud800": 1}}',
        b'{"model": "tiny", "messages": [{"role": 7}], "tools": 7, "stream": null}',
    ]:
        provider.script(Reply(GOOD[endpoint]))
        post(worker, endpoint, body=body)
        count += 1
    check_all(worker, count)


def test_no_upstream_at_all(start):
    gateway = start("routes: {other: {upstream_url: 'http://127.0.0.1:1/v1'}}\n")
    for endpoint in REQUESTS:
        post(gateway, endpoint)
        post(gateway, endpoint, model="other")
    every = check_all(gateway, 2 * len(REQUESTS))
    assert {trace["outcome"] for trace in every} == {"gateway_error"}
