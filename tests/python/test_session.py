"""A session as a trainer meets it: good turns among calls that failed, and the verdict on it."""

import openai
import openai_replies as api
import pytest
from openai import OpenAI
from provider import Reply
from test_errors import LATER


def test_a_session_with_a_break_and_a_retry(routed, provider):
    """Four completed turns in their order, and a report that names the one call that is lost."""
    base_url = f"{routed.url}/sessions/task-7:0/v1"
    client = OpenAI(api_key="none", base_url=base_url, max_retries=2)
    history, answers = [], []

    def turn(question, **more):
        history.append({"role": "user", "content": question})
        return client.chat.completions.create(model="gpt-5.5", messages=history, **more)

    def good(answer):
        return api.completion(api.choice(content=answer))

    def go_on(reply):
        answers.append(reply.choices[0].message.content)
        history.append({"role": "assistant", "content": answers[-1]})

    provider.script(api.whole(good("First.")))
    go_on(turn("one"))

    broken = api.chunks(good("This will never be read to its end."))[:4]
    provider.script(Reply(events=broken, broken=True))
    with pytest.raises(openai.APIConnectionError):
        list(turn("two", stream=True))
    # The agent gives this turn up and asks something else.
    history.pop()

    provider.script(api.error(429, "rate_limit_error", "slow down", **LATER), api.whole(good("Third.")))
    go_on(turn("three"))

    for number in ("four", "five"):
        provider.script(api.streamed(good(f"This is {number}.")))
        history.append({"role": "user", "content": number})
        with client.chat.completions.stream(model="gpt-5.5", messages=history) as stream:
            go_on(stream.get_final_completion())

    completed = routed.traces("task-7:0")
    assert [trace["response_message"]["content"] for trace in completed] == answers
    assert answers == ["First.", "Third.", "This is four.", "This is five."]
    assert [trace["messages"][-1]["content"] for trace in completed] == ["one", "three", "four", "five"]
    parents = [trace["parent_trace_id"] for trace in completed]
    assert parents == [None, *(trace["trace_id"] for trace in completed[:-1])]
    assert {trace["lineage_id"] for trace in completed} == {"task-7:0#0"}

    outcomes = ["completed", "truncated", "upstream_error", "completed", "completed", "completed"]
    every = routed.traces("task-7:0", "?outcome=all")
    assert [trace["outcome"] for trace in every] == outcomes
    truncated, refused = every[1:3]
    assert truncated["superseded_by"] is None
    assert refused["superseded_by"] == every[3]["trace_id"]
    assert [trace["client"]["retry_count"] for trace in every[2:4]] == [0, 1]

    report = routed.get("/sessions/task-7:0/report")
    assert report["verdict"] == "incomplete"
    (reason,) = report["reasons"]
    assert truncated["trace_id"] in reason and "truncated" in reason
    assert not [trace for trace in every if trace is not truncated and trace["trace_id"] in reason]
    assert report["failed"] == {"truncated": 1, "upstream_error": 1}
    assert (report["completed"], report["superseded"]) == (4, 1)
    counts = [report[name] for name in ("accepted", "persisted", "in_flight", "deleted")]
    assert counts == [6, 6, 0, 0]
