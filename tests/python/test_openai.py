"""The real `openai` SDK through the gateway: it notices nothing, and every
call is in the traces as the SDK saw it."""

import asyncio

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

MESSAGES = [{"role": "user", "content": "good morning to you"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def client(gateway, **more):
    more = {"api_key": "none", "base_url": gateway.url + "/v1", "max_retries": 0, **more}
    return OpenAI(**more)


def by_header(session, **more):
    return {"X-RLLM-Session-Id": session, **more}


def check(trace, message):
    """The trace holds the message that the SDK held, with ids and logprobs."""
    assert trace["messages"] == MESSAGES
    assert trace["response_message"]["role"] == "assistant"
    assert trace["response_message"]["content"] == message
    assert trace["outcome"] == "completed"
    ids = trace["completion_token_ids"]
    assert ids and len(trace["logprobs"]) == len(ids)
    assert trace["prompt_token_ids"]
    assert trace["token_counts"]["completion"] == len(ids)


def test_chat_whole(gateway):
    reply = client(gateway).chat.completions.create(
        model="tiny", messages=MESSAGES, extra_headers=by_header("s")
    )
    assert reply.choices[0].message.content == "You said: good morning to you"
    assert reply.choices[0].logprobs is None
    assert not hasattr(reply, "prompt_token_ids")
    check(gateway.trace("s"), reply.choices[0].message.content)


def test_chat_streamed(gateway):
    stream = client(gateway).chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, extra_headers=by_header("s")
    )
    text, finish = "", None
    for chunk in stream:
        assert chunk.usage is None
        for choice in chunk.choices:
            assert choice.logprobs is None
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert (text, finish) == ("You said: good morning to you", "stop")
    trace = gateway.trace("s")
    check(trace, text)
    assert trace["stream"] is True
    assert trace["assembled_response"]["choices"][0]["message"]["content"] == text


def test_streaming_helper_with_everything_asked_for(gateway):
    with client(gateway).chat.completions.stream(
        model="tiny",
        messages=MESSAGES,
        logprobs=True,
        stream_options={"include_usage": True},
        extra_headers=by_header("s"),
    ) as stream:
        reply = stream.get_final_completion()
    trace = gateway.trace("s")
    check(trace, reply.choices[0].message.content)
    assert [token.logprob for token in reply.choices[0].logprobs.content] == trace["logprobs"]
    assert reply.usage.completion_tokens == trace["token_counts"]["completion"]
    assert reply.usage.prompt_tokens == trace["token_counts"]["prompt"]


@pytest.mark.parametrize("stream", [False, True])
def test_tools(gateway, stream):
    arguments = {"model": "tiny", "messages": MESSAGES, "tools": TOOLS}
    arguments["extra_headers"] = by_header("s")
    create = client(gateway).chat.completions
    if stream:
        with create.stream(**arguments) as events:
            reply = events.get_final_completion()
    else:
        reply = create.create(**arguments)
    call = reply.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Paris"}')
    trace = gateway.trace("s")
    assert trace["finish_reason"] == "tool_calls"
    (recorded,) = trace["response_message"]["tool_calls"]
    assert recorded["id"] == call.id
    assert recorded["type"] == "function"
    assert recorded["function"]["name"] == "weather"
    assert recorded["function"]["arguments"] == '{"city": "Paris"}'
    assert trace["raw_request"]["tools"] == TOOLS


@pytest.mark.parametrize("stream", [False, True])
def test_completions(gateway, stream):
    reply = client(gateway).completions.create(
        model="tiny", prompt="once upon", stream=stream, extra_headers=by_header("s")
    )
    chunks = list(reply) if stream else [reply]
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    trace = gateway.trace("s")
    assert trace["endpoint"] == "completions"
    assert trace["response_message"] == {"role": "assistant", "content": text}
    assert len(trace["logprobs"]) == len(trace["completion_token_ids"]) > 0


def test_identity_by_header_body_and_path_is_one(gateway, upstream):
    through = client(gateway, base_url=gateway.url + "/sessions/by-path/v1")
    through.chat.completions.create(
        model="tiny",
        messages=MESSAGES,
        extra_headers={"X-RLLM-Run-Id": "run-1", "X-RLLM-Step-Id": "3"},
        extra_body={"metadata": {"rllm": {"harness": "pytest", "run_id": "hidden"}, "own": 1}},
    )
    trace = gateway.trace("by-path")
    assert (trace["run_id"], trace["harness"], trace["step_id"]) == ("run-1", "pytest", 3)
    assert trace["metadata"] == {"own": 1}
    (seen,) = upstream.get("/seen")
    assert seen["target"] == "/v1/chat/completions"
    assert not [name for name, _ in seen["headers"] if name.lower().startswith("x-rllm")]
    assert "rllm" not in seen["body"]


@pytest.mark.parametrize(
    "body", [{"metadata": {"rllm": {"session_id": "b"}}}, {"rllm": {"session_id": "b"}}]
)
def test_identity_by_body(gateway, upstream, body):
    client(gateway).chat.completions.create(model="tiny", messages=MESSAGES, extra_body=body)
    assert gateway.trace("b")["metadata"] == {}
    (seen,) = upstream.get("/seen")
    assert "rllm" not in seen["body"] and "metadata" not in seen["body"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (500, openai.InternalServerError),
    ],
)
def test_upstream_errors_are_typed(gateway, status, error):
    for stream in (False, True):
        with pytest.raises(error) as raised:
            client(gateway).chat.completions.create(
                model=f"status-{status}",
                messages=MESSAGES,
                stream=stream,
                extra_headers=by_header("s"),
            )
        assert raised.value.status_code == status
        assert f"asked for {status}" in raised.value.message
        assert raised.value.request_id == "up-err"
    assert gateway.traces("s") == []
    traces = gateway.traces("s", "?outcome=all")
    assert [trace["status"] for trace in traces] == [status, status]
    assert {trace["outcome"] for trace in traces} == {"upstream_error"}


def test_gateway_errors_are_typed(guarded):
    create = client(guarded).chat.completions.create
    with pytest.raises(openai.AuthenticationError) as raised:
        create(model="tiny", messages=MESSAGES)
    assert raised.value.code == "unauthorized"
    assert raised.value.type == "auth_error"

    trusted = client(guarded, api_key="the-token")
    trusted.chat.completions.create(model="tiny", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        client(guarded, api_key="the-token", base_url=guarded.url + "/v1/v1").models.list()
    with pytest.raises(openai.BadRequestError) as raised:
        trusted.chat.completions.create(
            model="tiny", messages=MESSAGES, extra_headers=by_header("x" * 600)
        )
    assert raised.value.code == "bad_identity"


def test_models_leave_no_trace(gateway):
    models = client(gateway, default_headers=by_header("s")).models.list()
    assert [model.id for model in models] == ["tiny"]
    assert gateway.traces("s", "?outcome=all") == []


def test_raw_reply_names_its_trace(gateway):
    raw = client(gateway).chat.completions.with_raw_response.create(
        model="tiny", messages=MESSAGES, extra_headers=by_header("s")
    )
    trace = gateway.get("/traces/" + raw.headers["x-rllm-trace-id"])
    assert trace["session_id"] == "s"
    assert trace["client"]["user_agent"].startswith("OpenAI/Python")


def test_many_sessions_at_once(gateway):
    async def agent(shared, number):
        for turn in range(3):
            stream = turn % 2 == 1
            reply = await shared.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": f"{number} {turn}"}],
                stream=stream,
                extra_headers=by_header(f"agent-{number}"),
            )
            if stream:
                async for _ in reply:
                    pass

    async def run():
        base = {"api_key": "none", "base_url": gateway.url + "/v1", "max_retries": 0}
        async with AsyncOpenAI(**base) as shared:
            await asyncio.gather(*(agent(shared, number) for number in range(32)))

    asyncio.run(run())
    for number in range(32):
        contents = [trace["messages"][0]["content"] for trace in gateway.traces(f"agent-{number}")]
        assert contents == [f"{number} {turn}" for turn in range(3)]
