"""The real `openai` SDK against replies as OpenAI sends them: the trace holds what the SDK's objects
hold, whole, streamed and through the SDK's helpers."""

import asyncio
import json

import openai_replies as api
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from same import call, calls, check_reply

MODEL = "gpt-5.5"
MESSAGES = [{"role": "user", "content": "What is the weather in Paris and in Rome?"}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {**WEATHER, "additionalProperties": False}
WEATHER = {"name": "weather", "parameters": WEATHER, "strict": True}
ASK = {"model": MODEL, "messages": MESSAGES}

TEXT = api.completion(api.choice(content="It is 21 °C in Paris — and “sunny”."))
LOGPROBS = api.completion(api.choice(content="Sunny", logprobs=api.logprobs("Sunny")))
TWO = api.completion(
    api.choice(0, content="Sunny, I would say."),
    api.choice(1, content="Rain"),
)
REFUSAL = api.completion(api.choice(refusal="I cannot help with that."))
PARALLEL = api.completion(
    api.choice(
        finish_reason="tool_calls",
        tool_calls=[
            api.function_call(1, "weather", '{"city":"Paris"}'),
            api.function_call(2, "weather", '{"city":"Rome"}'),
        ],
    )
)


@pytest.fixture
def client(routed):
    """The SDK as its users point it at a session."""
    return OpenAI(api_key="none", base_url=f"{routed.url}/sessions/s/v1", max_retries=0)


@pytest.fixture
def async_client(routed):
    return AsyncOpenAI(api_key="none", base_url=f"{routed.url}/sessions/s/v1", max_retries=0)


def check_chat(trace, reply, finish_reason="stop"):
    """What every trace of a chat completion tells of the SDK's object."""
    check_reply(trace, reply)
    assert trace["endpoint"] == "chat/completions"
    assert trace["messages"] == MESSAGES
    assert trace["model"] == MODEL
    assert trace["request_id"] == api.HEADERS["x-request-id"]
    assert (trace["upstream"], trace["upstream_reason"]) == ("*", "route")
    assert trace["token_counts"] == {
        "prompt": reply.usage.prompt_tokens,
        "completion": reply.usage.completion_tokens,
        "cached": reply.usage.prompt_tokens_details.cached_tokens,
        "reasoning": reply.usage.completion_tokens_details.reasoning_tokens,
    }
    choice, message = reply.choices[0], trace["response_message"]
    assert trace["finish_reason"] == choice.finish_reason == finish_reason
    assert message["role"] == "assistant"
    assert message["content"] == choice.message.content
    assert message.get("refusal") == choice.message.refusal
    held = [
        call(made.id, made.function.name, json.loads(made.function.arguments))
        for made in choice.message.tool_calls or []
    ]
    assert ("tool_calls" in message) == bool(held)
    if held:
        assert calls(message) == held


@pytest.mark.parametrize("reply", [TEXT, LOGPROBS, TWO, REFUSAL, PARALLEL])
def test_chat_whole(client, provider, routed, reply):
    provider.script(api.whole(reply))
    held = client.chat.completions.create(**ASK)
    trace = routed.trace("s")
    check_chat(trace, held, reply["choices"][0]["finish_reason"])
    assert trace["raw_response"] == reply
    (seen,) = provider.seen
    assert seen.json() == ASK
    assert seen.headers["authorization"] == "Bearer provider-key"


@pytest.mark.parametrize("reply", [TEXT, LOGPROBS, TWO, REFUSAL, PARALLEL])
def test_chat_through_the_streaming_helper(client, provider, routed, reply):
    provider.script(api.streamed(reply))
    with client.chat.completions.stream(
        **ASK, stream_options={"include_usage": True}, tools=[{"type": "function", "function": WEATHER}]
    ) as stream:
        held = stream.get_final_completion()
    trace = routed.trace("s")
    check_chat(trace, held, reply["choices"][0]["finish_reason"])
    if len(reply["choices"]) > 1:
        recorded = [(one["message"]["content"], one["finish_reason"]) for one in trace["choices"]]
        assert recorded == [(one.message.content, one.finish_reason) for one in held.choices]
    if held.choices[0].logprobs:
        logprobs = [token.logprob for token in held.choices[0].logprobs.content]
        assert trace["logprobs"] == logprobs == [-0.25, -0.5]


def test_chat_chunk_by_chunk(client, provider, routed):
    provider.script(api.streamed(PARALLEL))
    arguments = {}
    for chunk in client.chat.completions.create(**ASK, stream=True):
        for choice in chunk.choices:
            for part in choice.delta.tool_calls or []:
                arguments[part.index] = arguments.get(part.index, "") + part.function.arguments
    recorded = routed.trace("s")["response_message"]["tool_calls"]
    assert [made["function"]["arguments"] for made in recorded] == [arguments[0], arguments[1]]


class Weather(BaseModel):
    city: str
    degrees: int


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(client, provider, routed, stream):
    reply = api.completion(api.choice(content='{"city": "Paris", "degrees": 21}'))
    provider.script(api.streamed(reply) if stream else api.whole(reply))
    if stream:
        options = {"include_usage": True}
        with client.chat.completions.stream(
            **ASK, response_format=Weather, stream_options=options
        ) as events:
            held = events.get_final_completion()
    else:
        held = client.chat.completions.parse(**ASK, response_format=Weather)
    parsed = held.choices[0].message.parsed
    assert parsed == Weather(city="Paris", degrees=21)
    trace = routed.trace("s")
    check_chat(trace, held)
    assert Weather.model_validate_json(trace["response_message"]["content"]) == parsed
    (seen,) = provider.seen
    assert trace["raw_request"] == seen.json()
    assert trace["raw_request"]["response_format"]["json_schema"]["name"] == "Weather"


def test_a_turn_with_tool_results(client, provider, routed):
    provider.script(api.streamed(PARALLEL), api.streamed(TEXT))
    options = {"include_usage": True}
    with client.chat.completions.stream(**ASK, stream_options=options) as stream:
        first = stream.get_final_completion().choices[0].message
    # The assistant's message as the SDK's users send it back.
    history = [*MESSAGES, first.to_dict(mode="json")]
    for made in first.tool_calls:
        history.append({"role": "tool", "tool_call_id": made.id, "content": "sunny"})
    held = client.chat.completions.create(model=MODEL, messages=history, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in held if part.choices)
    turns = routed.traces("s")
    assert [trace["finish_reason"] for trace in turns] == ["tool_calls", "stop"]
    assert turns[1]["messages"] == history
    (recorded,) = [one for one in turns[1]["messages"] if one["role"] == "assistant"]
    assert calls(recorded) == calls(turns[0]["response_message"])


def test_chat_asynchronously(async_client, provider, routed):
    provider.script(api.whole(TEXT), api.streamed(TEXT), api.streamed(PARALLEL))

    async def run():
        async with async_client as client:
            create = client.chat.completions.create
            whole = await create(**ASK)
            text = ""
            async for chunk in await create(**ASK, stream=True):
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
            options = {"include_usage": True}
            async with client.chat.completions.stream(**ASK, stream_options=options) as stream:
                helped = await stream.get_final_completion()
            return whole, text, helped

    whole, text, helped = asyncio.run(run())
    traces = routed.traces("s")
    check_chat(traces[0], whole)
    assert traces[1]["response_message"]["content"] == text == whole.choices[0].message.content
    check_chat(traces[2], helped, "tool_calls")


@pytest.mark.parametrize("stream", [False, True])
def test_completions(client, provider, routed, stream):
    reply = api.text_completion("Once upon a time, there was", "Once more")
    provider.script(api.text_streamed(reply) if stream else api.whole(reply))
    ask = {"model": "gpt-3.5-turbo-instruct", "prompt": "Tell", "n": 2, "stream": stream}
    held = client.completions.create(**ask)
    texts = ["", ""]
    for chunk in held if stream else [held]:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    trace = routed.trace("s")
    if stream:
        assert trace["assembled_response"] == reply
    else:
        check_reply(trace, held)
    assert [choice["message"]["content"] for choice in trace["choices"]] == texts
    assert trace["response_message"] == {"role": "assistant", "content": texts[0]}
    assert trace["finish_reason"] == "length"
    assert trace["token_counts"] == {"prompt": 5, "completion": 7}


def test_embeddings(client, provider, routed):
    provider.script(api.whole(api.embeddings([0.25, -0.5], [1.0, 0.125])))
    model = "text-embedding-3-small"
    held = client.embeddings.create(model=model, input=["a", "b"], encoding_format="float")
    assert routed.traces("s") == []
    (trace,) = routed.traces("s", "?span_type=all")
    check_reply(trace, held)
    assert (trace["span_type"], trace["endpoint"]) == ("llm.embedding", "embeddings")
    assert trace["token_counts"] == {"prompt": held.usage.prompt_tokens}
    recorded = [one["embedding"] for one in trace["raw_response"]["data"]]
    assert recorded == [one.embedding for one in held.data]


# Responses


QUESTION = {"model": MODEL, "input": "What is the weather in Paris and in Rome?"}
THOUGHT = api.reasoning_item("**Looking up weather**\n\nTwo calls are needed.")
ANSWER = api.response(THOUGHT, api.message_item("It is sunny — 21 °C."), reasoning=64)
CITED = api.response(
    api.message_item(
        "See the forecast.",
        annotations=[
            {
                "type": "url_citation",
                "start_index": 8,
                "end_index": 16,
                "url": "https://example.com/forecast",
                "title": "Forecast",
            }
        ],
    )
)
TOOLS = api.response(
    THOUGHT,
    api.call_item("weather", '{"city":"Paris"}', 1),
    api.call_item("weather", '{"city":"Rome"}', 2),
    reasoning=64,
)
CUT = api.response(
    api.message_item("It is su"), status="incomplete", incomplete="max_output_tokens"
)


def check_response(trace, held, finish_reason="stop"):
    """What every trace of a response tells of the SDK's object."""
    check_reply(trace, held)
    assert trace["endpoint"] == "responses"
    assert trace["token_counts"] == {
        "prompt": held.usage.input_tokens,
        "completion": held.usage.output_tokens,
        "cached": held.usage.input_tokens_details.cached_tokens,
        "reasoning": held.usage.output_tokens_details.reasoning_tokens,
    }
    assert trace["finish_reason"] == finish_reason
    message = trace["response_message"]
    assert message["role"] == "assistant"
    assert (message["content"] or "") == held.output_text
    thoughts = [item for item in held.output if item.type == "reasoning"]
    summaries = [part.text for item in thoughts for part in item.summary]
    assert message.get("reasoning_content", "") == "".join(summaries)
    made = [
        call(item.call_id, item.name, json.loads(item.arguments))
        for item in held.output
        if item.type == "function_call"
    ]
    assert ("tool_calls" in message) == bool(made)
    if made:
        assert calls(message) == made


RESPONSES = [(ANSWER, "stop"), (CITED, "stop"), (TOOLS, "tool_calls"), (CUT, "length")]


@pytest.mark.parametrize(("reply", "finish_reason"), RESPONSES)
def test_responses_whole(client, provider, routed, reply, finish_reason):
    provider.script(api.whole(reply))
    held = client.responses.create(**QUESTION, instructions="Be brief.")
    trace = routed.trace("s")
    check_response(trace, held, finish_reason)
    assert trace["raw_response"] == reply
    assert trace["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION["input"]},
    ]


@pytest.mark.parametrize(("reply", "finish_reason"), RESPONSES)
def test_responses_event_by_event(client, provider, routed, reply, finish_reason):
    provider.script(api.response_streamed(reply))
    text, last = "", None
    for event in client.responses.create(**QUESTION, stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
        last = event
    trace = routed.trace("s")
    assert trace["assembled_response"] == reply
    check_response(trace, last.response, finish_reason)
    assert (trace["response_message"]["content"] or "") == text


@pytest.mark.parametrize(("reply", "finish_reason"), RESPONSES[:3])
def test_responses_through_the_streaming_helper(client, provider, routed, reply, finish_reason):
    provider.script(api.response_streamed(reply))
    tools = [{"type": "function", **WEATHER}]
    with client.responses.stream(**QUESTION, tools=tools) as stream:
        held = stream.get_final_response()
    check_response(routed.trace("s"), held, finish_reason)


def test_structured_response(client, provider, routed):
    reply = api.response(api.message_item('{"city": "Paris", "degrees": 21}'))
    provider.script(api.whole(reply))
    held = client.responses.parse(**QUESTION, text_format=Weather)
    assert held.output_parsed == Weather(city="Paris", degrees=21)
    check_response(routed.trace("s"), held)


def test_responses_with_tool_results(client, provider, routed):
    provider.script(api.whole(TOOLS), api.whole(ANSWER))
    first = client.responses.create(**QUESTION)
    items = [{"role": "user", "content": QUESTION["input"]}]
    items += [item.to_dict(mode="json") for item in first.output]
    for item in first.output:
        if item.type == "function_call":
            result = {"call_id": item.call_id, "output": "sunny"}
            items.append({"type": "function_call_output", **result})
    client.responses.create(model=MODEL, input=items)
    one, two = routed.traces("s")
    assert two["raw_request"]["input"] == items
    user, assistant, *results = two["messages"]
    assert user == {"role": "user", "content": QUESTION["input"]}
    assert assistant["role"] == "assistant"
    assert calls(assistant) == calls(one["response_message"])
    assert [result["role"] for result in results] == ["tool", "tool"]
    ids = [made["id"] for made in one["response_message"]["tool_calls"]]
    assert [result["tool_call_id"] for result in results] == ids


def test_responses_asynchronously(async_client, provider, routed):
    provider.script(api.whole(ANSWER), api.response_streamed(TOOLS))

    async def run():
        async with async_client as client:
            whole = await client.responses.create(**QUESTION)
            async with client.responses.stream(**QUESTION) as stream:
                return whole, await stream.get_final_response()

    whole, helped = asyncio.run(run())
    one, two = routed.traces("s")
    check_response(one, whole)
    check_response(two, helped, "tool_calls")


@pytest.mark.parametrize("stream", [False, True])
def test_responses_through_a_worker(start, provider, stream):
    gateway = start("", "--worker", provider.url)
    client = OpenAI(api_key="none", base_url=f"{gateway.url}/sessions/s/v1", max_retries=0)
    provider.script(api.response_streamed(TOOLS) if stream else api.whole(TOOLS))
    if stream:
        with client.responses.stream(**QUESTION) as events:
            held = events.get_final_response()
    else:
        held = client.responses.create(**QUESTION)
    check_response(gateway.trace("s"), held, "tool_calls")
    (seen,) = provider.seen
    assert seen.json() == ({**QUESTION, "stream": True} if stream else QUESTION)


def test_a_stored_response_leaves_no_trace(client, provider, routed):
    provider.script(api.whole(ANSWER))
    held = client.responses.retrieve(ANSWER["id"])
    assert held.id == ANSWER["id"]
    (seen,) = provider.seen
    assert seen.path == f"/v1/responses/{ANSWER['id']}"
    assert routed.traces("s", "?outcome=all&span_type=all") == []
