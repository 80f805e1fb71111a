"""A worker like vLLM in the test's own process that remembers every token it has said."""

import dataclasses
import random

from provider import Provider, Reply, send, sse


@dataclasses.dataclass
class Said:
    """One reply: what was asked for, which tokens stood before it, and which it has."""

    request: dict
    prompt_ids: list[int]
    ids: list[int]
    logprobs: list[float]
    weights: int

    @property
    def text(self):
        return "".join(map(spelt, self.ids))


class Vllm(Provider):
    """Answers chat completions. A conversation is known by its first message, and no two have the
    same tokens; each turn's prompt is what stood before, and new tokens for the new message."""

    def __init__(self):
        self.weights = 0
        self.said = {}
        super().__init__()

    def answer(self, handler):
        request = self.receive(handler).json()
        messages = request["messages"]
        task, turn = messages[0]["content"], len(messages) // 2
        self.before(task, turn)
        chance = random.Random(f"{task}, {turn}")
        last = self.said.get((task, turn - 1))
        said = Said(
            request,
            prompt_ids=(last.prompt_ids + last.ids if last else []) + tokens(chance),
            ids=tokens(chance),
            logprobs=[],
            weights=self.weights,
        )
        said.logprobs = [-chance.expovariate(2) for _ in said.ids]
        self.said[task, turn] = said
        send(handler, streamed(said) if request.get("stream") else whole(said))

    def before(self, task, turn):
        """What happens before a reply: nothing, unless a test has something in mind."""


def tokens(chance):
    return [chance.randrange(151_936) for _ in range(chance.randrange(3, 12))]


def spelt(token):
    return f" w{token}"


def head(said, kind):
    name = {"id": "chatcmpl-8f1d", "object": kind, "created": 1795475231}
    return {**name, "model": said.request["model"]}


def counted(said):
    prompt, completion = len(said.prompt_ids), len(said.ids)
    total = prompt + completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def part(said, begin, end):
    """What a choice tells of some of its tokens beside their text."""
    told = {"index": 0, "logprobs": None, "finish_reason": None}
    if said.request.get("logprobs"):
        told["logprobs"] = {
            "content": [
                {
                    "token": spelt(said.ids[at]),
                    "logprob": said.logprobs[at],
                    "bytes": list(spelt(said.ids[at]).encode()),
                    "top_logprobs": [],
                }
                for at in range(begin, end)
            ]
        }
    if said.request.get("return_token_ids"):
        told["token_ids"] = said.ids[begin:end]
    if end == len(said.ids):
        told = {**told, "finish_reason": "stop", "stop_reason": None}
    return told


def prompt(said):
    return {"prompt_token_ids": said.prompt_ids} if said.request.get("return_token_ids") else {}


def whole(said):
    message = {"role": "assistant", "content": said.text, "refusal": None, "tool_calls": []}
    choice = {**part(said, 0, len(said.ids)), "message": message}
    more = {"usage": counted(said), "prompt_logprobs": None, **prompt(said)}
    return Reply({**head(said, "chat.completion"), "choices": [choice], **more})


def streamed(said):
    """At most two tokens to a chunk."""
    name = head(said, "chat.completion.chunk")
    first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None}
    chunks = [{**name, "choices": [{**first, "finish_reason": None}], **prompt(said)}]
    for begin in range(0, len(said.ids), 2):
        end = min(begin + 2, len(said.ids))
        delta = {"content": "".join(map(spelt, said.ids[begin:end]))}
        chunks.append({**name, "choices": [{**part(said, begin, end), "delta": delta}]})
    if (said.request.get("stream_options") or {}).get("include_usage"):
        chunks.append({**name, "choices": [], "usage": counted(said)})
    return Reply(events=[*map(sse, chunks), sse("[DONE]")])
