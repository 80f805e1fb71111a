"""Replies as OpenAI sends them, field by field, whole and streamed from one content."""

import itertools

from provider import Reply, sse

HEADERS = {
    "x-request-id": "req_6f2e0c1d8e3b4a5f9c7d",
    "openai-organization": "user-abc",
    "openai-processing-ms": "412",
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-reset-requests": "6ms",
}
CREATED = 1772452800
CHAT = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "created": CREATED,
    "model": "gpt-5.5-2026-04-23",
    "service_tier": "default",
    "system_fingerprint": "fp_44709d6fcb",
}
DONE = sse("[DONE]")


def usage(reasoning=0):
    return {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def function_call(number, name, arguments):
    """A call of a tool in a chat message."""
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_62136354{number}", "type": "function", "function": function}


def logprobs(text):
    """One token for each word."""
    tokens = [text[:1], text[1:]]
    return {
        "content": [
            {
                "token": token,
                "logprob": -0.25 * (at + 1),
                "bytes": list(token.encode()),
                "top_logprobs": [
                    {"token": token, "logprob": -0.25 * (at + 1), "bytes": list(token.encode())}
                ],
            }
            for at, token in enumerate(tokens)
        ],
        "refusal": None,
    }


def choice(index=0, *, content=None, finish_reason="stop", logprobs=None, **message):
    message = {"role": "assistant", "content": content, "refusal": None, "annotations": [], **message}
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }


def completion(*choices, **more):
    """A whole chat completion."""
    return {**CHAT, "object": "chat.completion", "choices": list(choices), "usage": usage(), **more}


def whole(body):
    return Reply(body, headers=HEADERS)


def chunks(completion, *, with_usage=True):
    """The events that a chat completion comes as; its choices take turns."""
    head = {name: value for name, value in completion.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    turns = itertools.zip_longest(*(deltas(choice) for choice in completion["choices"]))
    all_chunks = []
    for part in itertools.chain.from_iterable(turns):
        if part is not None:
            chunk = {**head, "choices": [part], "obfuscation": "aB3xK9"[: len(all_chunks) % 6]}
            all_chunks.append({**chunk, "usage": None} if with_usage else chunk)
    if with_usage:
        all_chunks.append({**head, "choices": [], "usage": completion["usage"], "obfuscation": "q"})
    return [sse(chunk) for chunk in all_chunks]


def deltas(choice):
    message, at = choice["message"], {"index": choice["index"]}
    rest = {"logprobs": None, "finish_reason": None}
    calls = message.get("tool_calls", [])
    first = {"role": "assistant", "content": None if calls else "", "refusal": None}
    yield {**at, "delta": first, **rest}
    for index, call in enumerate(calls):
        opened = {"index": index, **call, "function": {**call["function"], "arguments": ""}}
        yield {**at, "delta": {"tool_calls": [opened]}, **rest}
        for piece in pieces(call["function"]["arguments"]):
            part = {"index": index, "function": {"arguments": piece}}
            yield {**at, "delta": {"tool_calls": [part]}, **rest}
    counted = choice["logprobs"]["content"] if choice["logprobs"] else None
    for name in ("content", "refusal"):
        text = message[name] or ""
        tokens = [token["token"] for token in counted] if counted else pieces(text)
        for number, piece in enumerate(tokens if text else []):
            part = {**at, "delta": {name: piece}, **rest}
            if counted:
                part["logprobs"] = {"content": [counted[number]], "refusal": None}
            yield part
    yield {**at, "delta": {}, **rest, "finish_reason": choice["finish_reason"]}


def streamed(completion, **how):
    return Reply(events=[*chunks(completion, **how), DONE], headers=HEADERS)


def pieces(text, size=6):
    return [text[at : at + size] for at in range(0, len(text), size)]


def error(status, kind, text, code=None, **headers):
    """An error as OpenAI answers with it."""
    body = {"error": {"message": text, "type": kind, "param": None, "code": code}}
    return Reply(body, status=status, headers={**HEADERS, **headers})


# Responses


def reasoning_item(summary, number=0):
    return {
        "id": f"rs_6876cf02e0bc8192b74af0fb64b715f{number}",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": summary}],
        "encrypted_content": "gAAAAABoQ1x-vJ2kQm0c3H8mJw==",
    }


def message_item(text, number=0, **more):
    content = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_67ccd2bf17f0819081ff3bb2cf6508e{number}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{**content, **more}],
    }


def call_item(name, arguments, number=0):
    return {
        "id": f"fc_67ccd2c3d2b48190b3b4c8dbf1e2e05{number}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_Zm1cXbtLq7UVq8n{number}",
        "name": name,
        "arguments": arguments,
    }


def response(*output, status="completed", incomplete=None, reasoning=0, **more):
    """A whole response."""
    return {
        "id": "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "completed_at": CREATED + 2 if status == "completed" else None,
        "error": None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": "gpt-5.5-2026-04-23",
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": 123,
        },
        "user": None,
        "metadata": {},
        **more,
    }


def response_events(response, *, end=True):
    """The events that a response comes as; without the last one, `end` says."""
    begun = {**response, "status": "in_progress", "completed_at": None, "usage": None}
    begun = {**begun, "output": [], "incomplete_details": None, "error": None}
    all_events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(response["output"]):
        all_events += item_events(item, {"output_index": index})
    if end:
        all_events.append({"type": f"response.{response['status']}", "response": response})
    for number, event in enumerate(all_events):
        event["sequence_number"] = number
    return [sse(event, event["type"]) for event in all_events]


def item_events(item, at):
    at_item = {"item_id": item["id"], **at}
    added = {"type": "response.output_item.added", **at}
    match item["type"]:
        case "message":
            yield {**added, "item": {**item, "status": "in_progress", "content": []}}
            for number, part in enumerate(item["content"]):
                at_part = {**at_item, "content_index": number}
                yield from part_events(part, at_part)
        case "function_call":
            yield {**added, "item": {**item, "status": "in_progress", "arguments": ""}}
            kind = "response.function_call_arguments"
            for piece in pieces(item["arguments"]):
                yield {"type": f"{kind}.delta", **at_item, "delta": piece, "obfuscation": "xyz"}
            yield {"type": f"{kind}.done", **at_item, "arguments": item["arguments"]}
        case "reasoning":
            yield {**added, "item": {**item, "summary": []}}
            for number, part in enumerate(item["summary"]):
                at_part = {**at_item, "summary_index": number}
                kind = "response.reasoning_summary"
                yield {"type": f"{kind}_part.added", **at_part, "part": {**part, "text": ""}}
                for piece in pieces(part["text"]):
                    yield {"type": f"{kind}_text.delta", **at_part, "delta": piece, "obfuscation": "p"}
                yield {"type": f"{kind}_text.done", **at_part, "text": part["text"]}
                yield {"type": f"{kind}_part.done", **at_part, "part": part}
    yield {"type": "response.output_item.done", **at, "item": item}


def part_events(part, at):
    empty = {**part, "text": "", "annotations": []}
    yield {"type": "response.content_part.added", **at, "part": empty}
    text = "response.output_text"
    for piece in pieces(part["text"]):
        yield {"type": f"{text}.delta", **at, "delta": piece, "logprobs": [], "obfuscation": "Lw"}
    for number, annotation in enumerate(part["annotations"]):
        noted = {"annotation_index": number, "annotation": annotation}
        yield {"type": f"{text}.annotation.added", **at, **noted}
    yield {"type": f"{text}.done", **at, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": part}


def response_streamed(response):
    return Reply(events=response_events(response), headers=HEADERS)


# Completions and embeddings


def text_completion(*texts, **more):
    """A whole completion."""
    choices = [
        {"text": text, "index": index, "logprobs": None, "finish_reason": "length"}
        for index, text in enumerate(texts)
    ]
    return {
        "id": "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7",
        "object": "text_completion",
        "created": CREATED,
        "model": "gpt-3.5-turbo-instruct:20230824-v2",
        "choices": choices,
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
        **more,
    }


def text_streamed(completion):
    head = {name: value for name, value in completion.items() if name not in ("choices", "usage")}
    events = []
    for choice in completion["choices"]:
        *begun, last = pieces(choice["text"])
        for piece in begun:
            part = {**choice, "text": piece, "finish_reason": None}
            events.append({**head, "choices": [part], "usage": None})
        events.append({**head, "choices": [{**choice, "text": last}], "usage": None})
    events.append({**head, "choices": [], "usage": completion["usage"]})
    return Reply(events=[*map(sse, events), DONE], headers=HEADERS)


def embeddings(*vectors):
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
