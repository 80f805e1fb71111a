"""Whether a trace holds what an SDK's object holds."""

import json

# What the SDKs' helpers add to what came, and what OpenAI adds to chunks as padding.
HELPERS = {"parsed", "parsed_arguments", "parsed_output", "obfuscation"}


def told(value):
    """The JSON of a value without nulls and without what no upstream has told."""
    if hasattr(value, "to_dict"):
        value = value.to_dict(mode="json", warnings=False)
    if isinstance(value, dict):
        kept = {name: told(inner) for name, inner in value.items() if name not in HELPERS}
        return {name: inner for name, inner in kept.items() if inner is not None}
    if isinstance(value, list):
        return [told(inner) for inner in value]
    return value


def held(reply):
    """What an SDK's object holds. OpenAI's streaming helper leaves the `index` of the chunks in the
    tool calls of its messages, where no whole reply has one."""
    reply = told(reply)
    for choice in reply.get("choices", []):
        for made in choice.get("message", {}).get("tool_calls", []):
            made.pop("index", None)
    return reply


def check_reply(trace, sdk_object):
    """The reply that a trace holds is the object that the SDK holds, member for member."""
    streamed = trace["stream"]
    reply = trace["assembled_response" if streamed else "raw_response"]
    assert trace["raw_response" if streamed else "assembled_response"] is None
    assert told(reply) == held(sdk_object)
    assert trace["outcome"] == "completed" and trace["error"] is None
    assert trace["status"] == 200
    expected = {"stop", "length", "tool_calls", "function_call", None}
    assert trace["has_error"] is (trace["finish_reason"] not in expected)
    assert trace["integrity"]["ended"] is True and trace["integrity"]["notes"] == []


def call(identifier, name, arguments):
    """A tool call of `response_message`, its arguments read."""
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(message):
    """The tool calls of a `response_message`, their arguments read."""
    return [
        call(made["id"], made["function"]["name"], json.loads(made["function"]["arguments"]))
        for made in message["tool_calls"]
    ]
