"""Replies as Anthropic sends them, field by field, whole and streamed from one content."""

import json

from provider import Reply, sse

HEADERS = {
    "request-id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    "anthropic-organization-id": "3b5d1f8e-6e0c-4a53-9e0c-5a1e2f6c7d88",
    "anthropic-ratelimit-requests-limit": "4000",
    "anthropic-ratelimit-requests-remaining": "3999",
    "anthropic-ratelimit-requests-reset": "2026-08-01T12:00:00Z",
    "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
}

TEXT = {"type": "text", "text": "The capital of France is Paris."}
CITED = {
    "type": "text",
    "text": "the grass is green",
    "citations": [
        {
            "type": "char_location",
            "cited_text": "The grass is green. ",
            "document_index": 0,
            "document_title": "My Document",
            "start_char_index": 0,
            "end_char_index": 20,
            "file_id": None,
        }
    ],
}
THINKING = {
    "type": "thinking",
    "thinking": "The user asks for a capital. That is easy: “Paris”.",
    "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds6Vv+0Zs==",
}
REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIwxtE3rAFBa8cr3qpP"}


def tool_use(number, name, arguments):
    """A call of a tool."""
    return {
        "type": "tool_use",
        "id": f"toolu_01T1x1fJ34qAmk2tNTrN7Up{number}",
        "name": name,
        "input": arguments,
        "caller": {"type": "direct"},
    }


def usage(thinking=0):
    return {
        "input_tokens": 25,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 49,
        "output_tokens_details": {"thinking_tokens": thinking},
        "service_tier": "standard",
        "inference_geo": "not_available",
    }


def message(*content, stop_reason="end_turn", stop_sequence=None, **more):
    """A whole message."""
    return {
        "model": "claude-sonnet-5",
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "stop_details": None,
        "usage": usage(thinking=30 if THINKING in content else 0),
        **more,
    }


def whole(message):
    return Reply(message, headers=HEADERS)


def events(message):
    """The events that a message comes as."""
    counted = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**counted, "output_tokens": 1}
    del start["usage"]["output_tokens_details"]
    all_events = [{"type": "message_start", "message": start}]
    for index, block in enumerate(message["content"]):
        empty, deltas = opened(block)
        all_events.append({"type": "content_block_start", "index": index, "content_block": empty})
        if index == 0:
            all_events.append({"type": "ping"})
        for delta in deltas:
            all_events.append({"type": "content_block_delta", "index": index, "delta": delta})
        all_events.append({"type": "content_block_stop", "index": index})
    names = ("stop_reason", "stop_sequence", "stop_details")
    totals = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    totals += ("output_tokens", "output_tokens_details")
    all_events.append(
        {
            "type": "message_delta",
            "delta": {name: message[name] for name in names},
            "usage": {name: counted[name] for name in totals},
        }
    )
    all_events.append({"type": "message_stop"})
    return [sse(event, event["type"]) for event in all_events]


def opened(block):
    """A block as it begins, and the deltas that fill it."""
    match block["type"]:
        case "text":
            empty = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
            if "citations" in block:
                empty["citations"] = []
                for citation in block["citations"]:
                    deltas.append({"type": "citations_delta", "citation": citation})
        case "thinking":
            empty = {**block, "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])
            ]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "tool_use":
            empty = {**block, "input": {}}
            parts = ["", *pieces(json.dumps(block["input"]))]
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        case _:
            empty, deltas = block, []
    return empty, deltas


def pieces(text, size=7):
    return [text[at : at + size] for at in range(0, len(text), size)]


def streamed(message):
    return Reply(events=events(message), headers=HEADERS)


def error(status, kind, text, **headers):
    """An error as Anthropic answers with it."""
    body = {
        "type": "error",
        "error": {"details": None, "type": kind, "message": text},
        "request_id": HEADERS["request-id"],
    }
    return Reply(body, status=status, headers={**HEADERS, **headers})


def error_event(kind, text):
    """An error in the middle of a stream."""
    return sse({"type": "error", "error": {"details": None, "type": kind, "message": text}}, "error")
