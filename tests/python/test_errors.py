"""Each error, the gateway's own and an upstream's, becomes the typed error that users of the SDKs
expect, and the trace tells of it what the SDK tells."""

import signal
import socket
import threading
import time

import anthropic
import anthropic_replies
import openai
import openai_replies
import pytest
from conftest import ROUTES
from provider import Reply, Silence, sse

MESSAGES = [{"role": "user", "content": "Hi"}]


class OpenAi:
    errors = openai
    replies = openai_replies
    model = "gpt-5.5"
    text = "Hello there, you."
    good = openai_replies.completion(openai_replies.choice(content=text))
    begun = openai_replies.chunks(good)[:3]

    @staticmethod
    def client(gateway, key="none", session="s", **more):
        base_url = f"{gateway.url}/sessions/{session}/v1"
        return openai.OpenAI(api_key=key, base_url=base_url, **{"max_retries": 0, **more})

    @classmethod
    def ask(cls, client, **more):
        return client.chat.completions.create(**{"model": cls.model, "messages": MESSAGES, **more})

    @staticmethod
    def told(error):
        return error.type, error.code, error.body["message"]


class Anthropic:
    errors = anthropic
    replies = anthropic_replies
    model = "claude-sonnet-5"
    text = anthropic_replies.TEXT["text"]
    good = anthropic_replies.message(anthropic_replies.TEXT)
    begun = anthropic_replies.events(good)[:5]

    @staticmethod
    def client(gateway, key="none", session="s", **more):
        base_url = f"{gateway.url}/sessions/{session}"
        return anthropic.Anthropic(api_key=key, base_url=base_url, **{"max_retries": 0, **more})

    @classmethod
    def ask(cls, client, **more):
        ask = {"model": cls.model, "messages": MESSAGES, "max_tokens": 99, **more}
        return client.messages.create(**ask)

    @staticmethod
    def told(error):
        return error.type, error.body["error"].get("code"), error.api_message


SDKS = pytest.mark.parametrize("sdk", [OpenAi, Anthropic])


# The gateway's own


def bad_request(start, provider, sdk):
    deep = 0
    for _ in range(200):
        deep = [deep]
    sdk.ask(sdk.client(routed(start, provider)), extra_body={"deep": deep})


def bad_identity(start, provider, sdk):
    sdk.ask(sdk.client(routed(start, provider)), extra_headers={"X-RLLM-Run-Id": "x" * 600})


def unauthorized(start, provider, sdk):
    gateway = routed(start, provider, "inbound_auth_token: right\n", token="right")
    sdk.ask(sdk.client(gateway, key="wrong"))


def path_not_allowed(start, provider, sdk):
    client = sdk.client(routed(start, provider))
    path = "/files" if sdk is OpenAi else "/v1/files"
    client.post(path, cast_to=object, body={"model": sdk.model})


def no_route(start, provider, sdk):
    routes = f"routes: {{only-this: {{upstream_url: '{provider.url}/v1'}}}}\n"
    sdk.ask(sdk.client(start(routes)))


def not_found(start, provider, sdk):
    sdk.client(routed(start, provider)).post("/v1/v1/messages", cast_to=object, body={})


def body_too_large(start, provider, sdk):
    gateway = routed(start, provider, "max_request_bytes: 1000\n")
    sdk.ask(sdk.client(gateway), extra_body={"long": "x" * 2000})


def uri_too_long(start, provider, sdk):
    sdk.ask(sdk.client(routed(start, provider)), extra_query={"long": "x" * 9000})


def unsupported_encoding(start, provider, sdk):
    headers = {"content-encoding": "compress"}
    sdk.ask(sdk.client(routed(start, provider)), extra_headers=headers)


def expectation_failed(start, provider, sdk):
    sdk.ask(sdk.client(routed(start, provider)), extra_headers={"Expect": "a-miracle"})


def misdirected_request(start, provider, sdk):
    sdk.ask(sdk.client(routed(start, provider)), extra_headers={"Host": "evil.example"})


def upgrade_required(start, provider, sdk):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    sdk.ask(sdk.client(routed(start, provider)), extra_headers=headers)


def headers_too_large(start, provider, sdk):
    sdk.ask(sdk.client(routed(start, provider)), extra_headers={"X-Long": "x" * 70_000})


def overloaded(start, provider, sdk):
    gateway, silence = routed(start, provider, "max_inflight: 1\n"), Silence()
    provider.script(silence)
    with held(sdk, gateway, provider, silence):
        sdk.ask(sdk.client(gateway))


def upstream_unreachable(start, provider, sdk):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        gateway = start(f"routes: {{'*': {{upstream_url: 'http://127.0.0.1:{port}/v1'}}}}\n")
        sdk.ask(sdk.client(gateway))


def upstream_protocol(start, provider, sdk):
    provider.script(Reply({}, status=999))
    sdk.ask(sdk.client(routed(start, provider)))


def no_healthy_worker(start, provider, sdk):
    provider.healthy = False
    config = "health_check_interval: 0.05\nhealth_check_failures: 1\n"
    gateway = start(config, "--worker", provider.url)
    until(lambda: gateway.get("/health/workers")["healthy"] == 0)
    sdk.ask(sdk.client(gateway))


def draining(start, provider, sdk):
    gateway, silence = routed(start, provider), Silence()
    provider.script(silence)
    with held(sdk, gateway, provider, silence):
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: refused(sdk, gateway))
        sdk.ask(sdk.client(gateway))


def upstream_timeout(start, provider, sdk):
    silence = Silence()
    provider.script(silence)
    try:
        sdk.ask(sdk.client(routed(start, provider, "read_timeout: 0.2\n")))
    finally:
        silence.over.set()


def routed(start, provider, more="", **how):
    return start(ROUTES.format(url=provider.url) + more, **how)


class held:
    """Keeps one call in flight meanwhile."""

    def __init__(self, sdk, gateway, provider, silence):
        self.silence, self.count, self.provider = silence, len(provider.seen) + 1, provider
        self.thread = threading.Thread(target=self.run, args=(sdk, gateway))

    def run(self, sdk, gateway):
        with pytest.raises(sdk.errors.APIStatusError):
            sdk.ask(sdk.client(gateway, session="held"))

    def __enter__(self):
        self.thread.start()
        until(lambda: len(self.provider.seen) == self.count)

    def __exit__(self, *_):
        self.silence.over.set()
        self.thread.join()


def refused(sdk, gateway):
    try:
        gateway.get("/ready")
    except OSError:
        return True


def until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Of the management plane, for those who reach it with an SDK's client.


def forbidden(start, provider, sdk):
    tokens = "inbound_auth_token: agent\nadmin_auth_token: admin\n"
    gateway = routed(start, provider, tokens, token="admin")
    of_gateway(sdk, gateway, key="agent").get("/traces", cast_to=object)


def method_not_allowed(start, provider, sdk):
    of_gateway(sdk, routed(start, provider)).delete("/health", cast_to=object)


def conflict(start, provider, sdk):
    client = of_gateway(sdk, routed(start, provider))
    for port in (1, 2):
        worker = {"url": f"http://127.0.0.1:{port}", "worker_id": "the-same"}
        client.post("/admin/workers", cast_to=object, body=worker)


def of_gateway(sdk, gateway, **more):
    return sdk.client(gateway, **more).with_options(base_url=gateway.url)


# How to get it; status, type; its class in both SDKs; whether the call was admitted.
OWN = [
    (bad_request, 400, "invalid_request_error", "BadRequestError", True),
    (bad_identity, 400, "invalid_request_error", "BadRequestError", False),
    (unauthorized, 401, "auth_error", "AuthenticationError", False),
    (path_not_allowed, 403, "auth_error", "PermissionDeniedError", False),
    (forbidden, 403, "auth_error", "PermissionDeniedError", False),
    (no_route, 404, "not_found_error", "NotFoundError", True),
    (not_found, 404, "not_found_error", "NotFoundError", False),
    (method_not_allowed, 405, "invalid_request_error", "APIStatusError", False),
    (conflict, 409, "invalid_request_error", "ConflictError", False),
    (body_too_large, 413, "invalid_request_error", "APIStatusError", False),
    (uri_too_long, 414, "invalid_request_error", "APIStatusError", False),
    (unsupported_encoding, 415, "invalid_request_error", "APIStatusError", False),
    (expectation_failed, 417, "invalid_request_error", "APIStatusError", False),
    (misdirected_request, 421, "invalid_request_error", "APIStatusError", False),
    (upgrade_required, 426, "invalid_request_error", "APIStatusError", False),
    (overloaded, 429, "rate_limit_error", "RateLimitError", False),
    (headers_too_large, 431, "invalid_request_error", "APIStatusError", False),
    (upstream_unreachable, 502, "upstream_error", "InternalServerError", True),
    (upstream_protocol, 502, "upstream_error", "InternalServerError", True),
    (no_healthy_worker, 503, "upstream_error", "InternalServerError", True),
    (draining, 503, "upstream_error", "InternalServerError", False),
    (upstream_timeout, 504, "upstream_error", "InternalServerError", True),
]


@SDKS
@pytest.mark.parametrize(("provoke", "status", "kind", "error", "admitted"), OWN)
def test_the_gateways_own_errors(start, provider, sdk, provoke, status, kind, error, admitted):
    started = []

    def starting(*config, **how):
        started.append(start(*config, **how))
        return started[-1]

    with pytest.raises(getattr(sdk.errors, error)) as raised:
        provoke(starting, provider, sdk)
    told = raised.value
    assert told.status_code == status
    assert sdk.told(told)[:2] == (kind, provoke.__name__)
    assert sdk.told(told)[2]
    if provoke is draining:
        started[0].process.wait(timeout=20)
        return
    traces = started[0].traces("s", "?outcome=all")
    assert len(traces) == (1 if admitted else 0)
    for trace in traces:
        assert (trace["outcome"], trace["status"]) == ("gateway_error", status)
        assert tuple(trace["error"].values()) == sdk.told(told)
        if provoke is bad_request:
            assert '"deep":[[[' in trace["raw_request"]["_body"]
        else:
            assert trace["raw_request"]["messages"] == MESSAGES
        assert told.response.headers["x-rllm-trace-id"] == trace["trace_id"]


# An upstream's. The SDKs follow the milliseconds, where there are some.
LATER = {"retry-after": "1", "retry-after-ms": "5"}

UPSTREAM = [
    (400, "invalid_request_error", "BadRequestError"),
    (401, "authentication_error", "AuthenticationError"),
    (403, "permission_error", "PermissionDeniedError"),
    (404, "not_found_error", "NotFoundError"),
    (413, "request_too_large", "APIStatusError"),
    (429, "rate_limit_error", "RateLimitError"),
    (500, "api_error", "InternalServerError"),
    (503, "overloaded_error", "InternalServerError"),
    (529, "overloaded_error", "InternalServerError"),
]


@SDKS
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "kind", "error"), UPSTREAM)
def test_an_upstreams_errors(routed, provider, sdk, stream, status, kind, error):
    text = f"no, because of {status} — “so”"
    reply = sdk.replies.error(status, kind, text, **LATER)
    provider.script(reply)
    with pytest.raises(getattr(sdk.errors, error)) as raised:
        sdk.ask(sdk.client(routed), stream=stream)
    told = raised.value
    assert (told.status_code, sdk.told(told)) == (status, (kind, None, text))
    assert told.response.content == reply.body
    for name, value in reply.headers.items():
        assert told.response.headers[name] == value
    assert told.request_id in sdk.replies.HEADERS.values()
    assert len(provider.seen) == 1
    assert routed.traces("s") == []
    (trace,) = routed.traces("s", "?outcome=all")
    assert (trace["outcome"], trace["status"]) == ("upstream_error", status)
    assert trace["error"] == {"type": kind, "code": str(status), "message": text}
    assert trace["raw_response"] == told.response.json()
    assert trace["stream"] is stream and trace["assembled_response"] is None


@SDKS
@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_by_the_sdk_is_a_call_of_its_own(routed, provider, sdk, stream):
    good = sdk.replies.streamed(sdk.good) if stream else sdk.replies.whole(sdk.good)
    provider.script(
        sdk.replies.error(429, "rate_limit_error", "slow down", **LATER),
        sdk.replies.error(503, "overloaded_error", "not now", **LATER),
        good,
    )
    reply = sdk.ask(sdk.client(routed, max_retries=2), stream=stream)
    if stream:
        assert list(reply)
    traces = routed.traces("s", "?outcome=all")
    assert [trace["status"] for trace in traces] == [429, 503, 200]
    assert [trace["client"]["retry_count"] for trace in traces] == [0, 1, 2]
    assert [trace["attempts"] for trace in traces] == [1, 1, 1]
    last = traces[-1]
    assert [trace["superseded_by"] for trace in traces] == [last["trace_id"]] * 2 + [None]
    assert routed.traces("s") == [last]


@SDKS
@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_by_the_gateway_is_not_seen(start, provider, sdk, stream):
    gateway = start(ROUTES.format(url=provider.url))
    good = sdk.replies.streamed(sdk.good) if stream else sdk.replies.whole(sdk.good)
    provider.script(sdk.replies.error(429, "rate_limit_error", "slow down"), good)
    reply = sdk.ask(sdk.client(gateway), stream=stream)
    if stream:
        assert list(reply)
    trace = gateway.trace("s")
    assert (trace["attempts"], trace["status"]) == (2, 200)
    assert [attempt["status"] for attempt in trace["attempt_log"]] == [429, 200]
    assert trace["response_message"]["content"] == sdk.text


@SDKS
def test_a_retry_of_an_sdk_gets_one_attempt(start, provider, sdk):
    """So that its retries and the gateway's do not multiply."""
    gateway = start(ROUTES.format(url=provider.url))
    for number in range(3):
        provider.script(sdk.replies.error(429, "rate_limit_error", f"no {number}", **{"retry-after-ms": "5"}))
    provider.script(sdk.replies.whole(sdk.good))
    sdk.ask(sdk.client(gateway, max_retries=2))
    assert [trace["attempts"] for trace in gateway.traces("s", "?outcome=all")] == [2, 1, 1]
    assert gateway.trace("s")["client"]["retry_count"] == 2


@SDKS
def test_the_last_error_is_the_one_told(routed, provider, sdk):
    for number in range(3):
        provider.script(sdk.replies.error(529, "overloaded_error", f"no {number}", **LATER))
    with pytest.raises(sdk.errors.InternalServerError) as raised:
        sdk.ask(sdk.client(routed, max_retries=2))
    assert sdk.told(raised.value) == ("overloaded_error", None, "no 2")
    traces = routed.traces("s", "?outcome=upstream_error")
    assert [trace["error"]["message"] for trace in traces] == ["no 0", "no 1", "no 2"]
    assert {trace["superseded_by"] for trace in traces} == {None}


# In the middle of a stream


def test_an_error_event_of_anthropic(routed, provider):
    sdk = Anthropic
    error = sdk.replies.error_event("overloaded_error", "Overloaded")
    provider.script(Reply(events=[*sdk.begun, error]))
    with pytest.raises(anthropic.APIStatusError) as raised:
        list(sdk.ask(sdk.client(routed), stream=True))
    assert raised.value.type == "overloaded_error"
    (trace,) = routed.traces("s", "?outcome=upstream_error")
    assert trace["error"] == {
        "type": raised.value.type,
        "code": "error_event",
        "message": raised.value.api_message,
    }
    assert trace["status"] == 200
    text = trace["assembled_response"]["content"][0]["text"]
    assert text and sdk.text.startswith(text)
    assert trace["response_message"]["content"] == text


def test_an_error_event_of_openai(routed, provider):
    sdk = OpenAi
    body = {"message": "The server had an error", "type": "server_error", "param": None, "code": None}
    provider.script(Reply(events=[*sdk.begun, sse({"error": body}), sdk.replies.DONE]))
    text = ""
    with pytest.raises(openai.APIError) as raised:
        for chunk in sdk.ask(sdk.client(routed), stream=True):
            text += chunk.choices[0].delta.content
    assert raised.value.message == "The server had an error"
    (trace,) = routed.traces("s", "?outcome=upstream_error")
    assert trace["error"] == {
        "type": raised.value.type,
        "code": "error_event",
        "message": raised.value.message,
    }
    assert trace["response_message"]["content"] == text == "Hello there,"


@pytest.mark.parametrize("event", [True, False])
def test_a_response_that_fails(routed, provider, event):
    api, client = openai_replies, OpenAi.client(routed)
    error = {"code": "server_error", "message": "The server had an error"}
    failed = api.response(api.message_item("It is"), status="failed", error=error, usage=None)
    events = api.response_events(failed)
    if event:
        told = {"type": "error", **error, "param": None, "sequence_number": 99}
        events = [*events[:-1], sse(told, "error")]
    provider.script(Reply(events=events))
    seen = list(client.responses.create(model="gpt-5.5", input="Hi", stream=True))
    last = seen[-1]
    held = last if event else last.response.error
    assert (held.code, held.message) == tuple(error.values())
    (trace,) = routed.traces("s", "?outcome=upstream_error")
    assert (trace["error"]["code"], trace["error"]["message"]) == tuple(error.values())
    assert trace["response_message"]["content"] == "It is"
    if not event:
        assert trace["assembled_response"] == failed


@SDKS
def test_a_stream_that_breaks_off(routed, provider, sdk):
    provider.script(Reply(events=sdk.begun, broken=True))
    stream = sdk.ask(sdk.client(routed), stream=True)
    with pytest.raises(Exception, match="(?i)connection|incomplete|peer closed"):
        list(stream)
    (trace,) = routed.traces("s", "?outcome=truncated")
    text = trace["response_message"]["content"]
    assert text and sdk.text.startswith(text) and text != sdk.text
    assert trace["error"]["code"] == "truncated" and trace["integrity"]["ended"] is False


@SDKS
def test_a_client_that_leaves(routed, provider, sdk):
    over = threading.Event()
    provider.script(Reply(events=[*sdk.begun, over]))
    with sdk.ask(sdk.client(routed), stream=True) as stream:
        next(iter(stream))
    until(lambda: routed.traces("s", "?outcome=client_disconnected"))
    over.set()
    (trace,) = routed.traces("s", "?outcome=all")
    assert trace["error"]["code"] == "client_disconnected"
    assert trace["response_message"]["role"] == "assistant"
