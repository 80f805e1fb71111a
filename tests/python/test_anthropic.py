"""The real `anthropic` SDK through the gateway: the trace holds what the SDK's objects hold, thinking
and its signatures too, whole, streamed and through the SDK's helper."""

import asyncio

import anthropic
import anthropic_replies as api
import pytest
from anthropic import Anthropic, AsyncAnthropic
from same import call, calls, check_reply

MODEL = "claude-sonnet-5"
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]
TOOL = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
ASK = {"model": MODEL, "max_tokens": 2048, "messages": MESSAGES, "system": "Be brief."}

PARIS = api.tool_use(1, "weather", {"city": "Paris", "days": [1, 2.5, None], "deep": {"a": "“b”"}})
ROME = api.tool_use(2, "weather", {})
REPLIES = {
    "text": (api.message(api.TEXT), "stop"),
    "cited": (api.message({**api.TEXT, "text": "As you say, "}, api.CITED), "stop"),
    "length": (api.message(api.TEXT, stop_reason="max_tokens"), "length"),
    "stop": (api.message(api.TEXT, stop_reason="stop_sequence", stop_sequence="END"), "stop"),
    "refusal": (api.message(api.TEXT, stop_reason="refusal"), "refusal"),
    "thinking": (api.message(api.THINKING, api.REDACTED, api.TEXT), "stop"),
    "tools": (api.message(api.TEXT, PARIS, ROME, stop_reason="tool_use"), "tool_calls"),
    "thinking, tools": (api.message(api.THINKING, PARIS, stop_reason="tool_use"), "tool_calls"),
    "nothing": (api.message(), "stop"),
}
EVERY_REPLY = pytest.mark.parametrize("name", list(REPLIES))


@pytest.fixture
def client(routed):
    """The SDK as its users point it at a session: it adds `/v1/messages` itself."""
    return Anthropic(api_key="none", base_url=f"{routed.url}/sessions/s", max_retries=0)


@pytest.fixture
def async_client(routed):
    return AsyncAnthropic(api_key="none", base_url=f"{routed.url}/sessions/s", max_retries=0)


def check_message(trace, message, finish_reason="stop"):
    """What every trace of a message tells of the SDK's object."""
    check_reply(trace, message)
    assert (trace["endpoint"], trace["span_type"]) == ("messages", "llm.call")
    assert (trace["model"], trace["upstream"]) == (MODEL, "claude-*")
    assert trace["request_id"] == api.HEADERS["request-id"]
    assert trace["finish_reason"] == finish_reason
    assert trace["messages"] == [{"role": "system", "content": ASK["system"]}, *MESSAGES]
    usage = message.usage
    cached = usage.cache_read_input_tokens
    counts = {
        "prompt": usage.input_tokens + usage.cache_creation_input_tokens + cached,
        "completion": usage.output_tokens,
        "cached": cached,
        "reasoning": usage.output_tokens_details.thinking_tokens,
    }
    assert trace["token_counts"] == counts
    recorded, blocks = trace["response_message"], message.content
    assert recorded["role"] == "assistant"
    texts = [block.text for block in blocks if block.type == "text"]
    assert (recorded["content"] or "") == "".join(texts)
    thoughts = [block.thinking for block in blocks if block.type == "thinking"]
    assert recorded.get("reasoning_content", "") == "".join(thoughts)
    made = [call(block.id, block.name, block.input) for block in blocks if block.type == "tool_use"]
    assert ("tool_calls" in recorded) == bool(made)
    if made:
        assert calls(recorded) == made


def check_blocks(trace, message):
    """Signatures, redacted thinking and citations, block by block."""
    reply = trace["assembled_response"] or trace["raw_response"]
    for recorded, held in zip(reply["content"], message.content, strict=True):
        assert recorded["type"] == held.type
        match held.type:
            case "thinking":
                assert recorded["signature"] == held.signature == api.THINKING["signature"]
                assert recorded["thinking"] == held.thinking == api.THINKING["thinking"]
            case "redacted_thinking":
                assert recorded["data"] == held.data == api.REDACTED["data"]
            case "tool_use":
                assert recorded["input"] == held.input
            case "text":
                cited = [citation.to_dict(mode="json") for citation in held.citations or []]
                assert recorded.get("citations", []) == cited
                assert recorded["text"] == held.text


@EVERY_REPLY
def test_whole(client, provider, routed, name):
    reply, finish_reason = REPLIES[name]
    provider.script(api.whole(reply))
    message = client.messages.create(**ASK)
    trace = routed.trace("s")
    check_message(trace, message, finish_reason)
    check_blocks(trace, message)
    assert trace["raw_response"] == reply
    (seen,) = provider.seen
    assert seen.json() == trace["raw_request"] == ASK
    assert (seen.path, seen.headers["x-api-key"]) == ("/v1/messages", "provider-key")


@EVERY_REPLY
def test_through_the_streaming_helper(client, provider, routed, name):
    reply, finish_reason = REPLIES[name]
    provider.script(api.streamed(reply))
    with client.messages.stream(**ASK) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    trace = routed.trace("s")
    check_message(trace, message, finish_reason)
    check_blocks(trace, message)
    assert trace["assembled_response"] == reply
    assert (trace["response_message"]["content"] or "") == text


@EVERY_REPLY
def test_event_by_event(client, provider, routed, name):
    reply, _ = REPLIES[name]
    provider.script(api.streamed(reply))
    events = list(client.messages.create(**ASK, stream=True))
    trace = routed.trace("s")
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    signatures = [
        event.delta.signature
        for event in events
        if event.type == "content_block_delta" and event.delta.type == "signature_delta"
    ]
    recorded = [
        block["signature"]
        for block in trace["assembled_response"]["content"]
        if block["type"] == "thinking"
    ]
    assert recorded == signatures
    assert trace["assembled_response"] == reply


def test_streamed_and_whole_tell_the_same(client, provider, routed):
    alike = ["response_message", "finish_reason", "token_counts", "messages", "choices", "has_error"]
    for reply, _ in REPLIES.values():
        provider.script(api.whole(reply), api.streamed(reply))
        client.messages.create(**ASK)
        for _ in client.messages.create(**ASK, stream=True):
            pass
        whole, streamed = routed.traces("s")[-2:]
        assert streamed["assembled_response"] == whole["raw_response"]
        assert [whole[name] for name in alike] == [streamed[name] for name in alike]


def test_a_conversation_with_thinking_and_tools(client, provider, routed):
    first = api.message(api.THINKING, PARIS, ROME, stop_reason="tool_use")
    provider.script(api.streamed(first), api.whole(api.message(api.TEXT)))
    thinking = {"type": "adaptive"}
    with client.messages.stream(**ASK, tools=[TOOL], thinking=thinking) as stream:
        message = stream.get_final_message()
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
        for block in message.content
        if block.type == "tool_use"
    ]
    history = [*MESSAGES, message.to_param(), {"role": "user", "content": results}]
    ask = {**ASK, "messages": history}
    client.messages.create(**ask, tools=[TOOL], thinking=thinking)
    one, two = routed.traces("s")
    # What the SDK sends back is what it was given, the signature too.
    sent = two["raw_request"]["messages"][1]["content"]
    assert sent[0]["signature"] == one["assembled_response"]["content"][0]["signature"]
    system, user, assistant, *tools = two["messages"]
    assert [system, user] == one["messages"]
    assert calls(assistant) == calls(one["response_message"])
    assert assistant["reasoning_content"] == one["response_message"]["reasoning_content"]
    ids = [(tool["role"], tool["tool_call_id"], tool["content"]) for tool in tools]
    assert ids == [("tool", PARIS["id"], "sunny"), ("tool", ROME["id"], "sunny")]


def test_asynchronously(async_client, provider, routed):
    reply, _ = REPLIES["thinking"]
    provider.script(api.whole(reply), api.streamed(reply))

    async def run():
        async with async_client as client:
            whole = await client.messages.create(**ASK)
            async with client.messages.stream(**ASK) as stream:
                text = "".join([text async for text in stream.text_stream])
                return whole, await stream.get_final_message(), text

    whole, streamed, text = asyncio.run(run())
    one, two = routed.traces("s")
    check_message(one, whole)
    check_message(two, streamed)
    check_blocks(two, streamed)
    assert two["response_message"]["content"] == text


def test_counting_tokens_leaves_no_trace(client, provider, routed):
    provider.script(api.whole({"input_tokens": 14}))
    counted = client.messages.count_tokens(model=MODEL, messages=MESSAGES, system="Be brief.")
    assert counted.input_tokens == 14
    (seen,) = provider.seen
    assert (seen.path, seen.headers["x-api-key"]) == ("/v1/messages/count_tokens", "provider-key")
    assert routed.traces("s", "?outcome=all&span_type=all") == []


def test_the_beta_endpoint_is_the_same(client, provider, routed):
    """Older SDKs add `?beta=true` by themselves."""
    provider.script(api.whole(api.message(api.TEXT)))
    beta = {"betas": ["context-1m-2025-08-07"], "extra_query": {"beta": "true"}}
    client.beta.messages.create(**ASK, **beta)
    trace = routed.trace("s")
    assert trace["response_message"]["content"] == api.TEXT["text"]
    (seen,) = provider.seen
    assert seen.path == "/v1/messages?beta=true"
    assert seen.headers["anthropic-beta"] == "context-1m-2025-08-07"


def test_a_session_by_header(routed, provider):
    provider.script(api.whole(api.message(api.TEXT)))
    client = Anthropic(api_key="none", base_url=routed.url, max_retries=0)
    headers = {"X-RLLM-Session-Id": "by-header", "X-RLLM-Harness": "pytest"}
    raw = client.messages.with_raw_response.create(**ASK, extra_headers=headers)
    trace = routed.trace("by-header")
    assert raw.headers["x-rllm-trace-id"] == trace["trace_id"]
    assert raw.headers["request-id"] == api.HEADERS["request-id"]
    assert raw.headers["anthropic-ratelimit-requests-limit"] == "4000"
    assert trace["harness"] == "pytest"
    assert trace["client"]["user_agent"].startswith("Anthropic/Python")
    (seen,) = provider.seen
    assert not [name for name in seen.headers if name.startswith("x-rllm")]


@pytest.mark.parametrize("stream", [False, True])
def test_through_a_worker(start, provider, stream):
    """A worker's fields are stripped; `stop_reason` is one of them in OpenAI's choices, not here."""
    gateway = start("", "--worker", provider.url)
    reply, _ = REPLIES["thinking, tools"]
    provider.script(api.streamed(reply) if stream else api.whole(reply))
    client = Anthropic(api_key="none", base_url=f"{gateway.url}/sessions/s", max_retries=0)
    if stream:
        with client.messages.stream(**ASK) as events:
            message = events.get_final_message()
    else:
        message = client.messages.create(**ASK)
    assert message.stop_reason == "tool_use"
    trace = gateway.trace("s")
    check_reply(trace, message)
    check_blocks(trace, message)
    assert trace["upstream_reason"] == "new"
    (seen,) = provider.seen
    assert seen.json() == ({**ASK, "stream": True} if stream else ASK)


def test_the_gateways_token_comes_as_x_api_key(start, provider):
    route = f"routes: {{'*': {{upstream_url: '{provider.url}/v1', auth_header: x-api-key theirs}}}}"
    gateway = start(f"inbound_auth_token: the-token\n{route}\n", token="the-token")
    provider.script(api.whole(api.message(api.TEXT)))
    base_url = f"{gateway.url}/sessions/s"
    Anthropic(api_key="the-token", base_url=base_url, max_retries=0).messages.create(**ASK)
    (seen,) = provider.seen
    assert seen.headers["x-api-key"] == "theirs" and "authorization" not in seen.headers
    assert gateway.trace("s")["principal"] == "agent"
    with pytest.raises(anthropic.AuthenticationError):
        Anthropic(api_key="wrong", base_url=base_url, max_retries=0).messages.create(**ASK)
    assert len(provider.seen) == 1
