"""A trainer's loop through the reference's client and the `openai` SDK, for 64 sessions at once: every
token, its log probability and the weights that it came from are in the traces, in order."""

import asyncio
import collections
import threading

import httpx
import pytest
import record
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from rllm_model_gateway import AsyncGatewayClient
from vllm_worker import Vllm

SESSIONS = 64
TURNS = 10
# In this turn all sessions are under way, and the weights are changed before the next.
HELD = 5


class HoldingVllm(Vllm):
    """One in which all sessions meet in one turn, and go on together."""

    def __init__(self):
        self.all_held = threading.Barrier(SESSIONS + 1)
        self.go_on = threading.Event()
        super().__init__()

    def before(self, task, turn):
        if turn == HELD:
            self.all_held.wait(timeout=60)
            self.go_on.wait(timeout=60)


@pytest.fixture
def worker():
    server = HoldingVllm()
    yield server
    server.stop()


def task_of(number):
    session = f"org/task-{number}:0"
    return session, f"solve {session}", {"temperature": number / 64, "seed": number, "top_p": 0.5}


async def agent(url, task, http):
    """Ten turns, some of them streamed; gives the whole conversation."""
    agent = AsyncOpenAI(api_key="none", base_url=url, http_client=http, max_retries=0)
    create, messages = agent.chat.completions.create, []
    for turn in range(TURNS):
        messages.append({"role": "user", "content": f"turn {turn}" if messages else task})
        asked = {"model": "tiny", "messages": messages, "temperature": 1.0}
        if turn % 3 == 1:
            stream = await create(**asked, stream=True)
            deltas = [part.choices[0].delta.content async for part in stream if part.choices]
            text = "".join(filter(None, deltas))
        else:
            text = (await create(**asked)).choices[0].message.content
        messages.append({"role": "assistant", "content": text})
    return messages


async def rollout(number, trainer, admin, http, worker):
    """One session from its creation to its deletion."""
    session, task, params = task_of(number)
    assert await trainer.create_session(session, metadata={"number": number}) == session
    # The published client does not know of sampling params.
    created = await admin.post("/sessions", json={"session_id": session, "sampling_params": params})
    assert created.json() == {"session_id": session, "url": f"/sessions/{session}/v1"}
    messages = await agent(trainer.get_session_url(session), task, http)

    assert await trainer.flush()
    info = await trainer.get_session_info(session)
    assert (info["trace_count"], info["metadata"]) == (TURNS, {"number": number})
    traces = await trainer.get_session_traces(session)
    assert len(traces) == TURNS
    for turn, trace in enumerate(traces):
        said = worker.said[task, turn]
        assert {name: said.request[name] for name in params} == params
        assert trace.messages == messages[: 2 * turn + 1]
        assert trace.response_message["content"] == said.text == messages[2 * turn + 1]["content"]
        assert trace.prompt_token_ids == said.prompt_ids
        assert trace.completion_token_ids == said.ids
        assert trace.logprobs == said.logprobs
        assert trace.token_counts == {"prompt": len(said.prompt_ids), "completion": len(said.ids)}
        assert (trace.session_id, trace.finish_reason) == (session, "stop")
        assert trace.raw_request["temperature"] == 1.0

    # What the published client does not read.
    whole = (await admin.get(f"/sessions/{session}/traces")).json()
    for turn, trace in enumerate(whole):
        record.check(trace)
        weights = 1 if turn <= HELD else 2
        assert trace["weight_version"] == trace["weight_version_end"] == weights
        assert worker.said[task, turn].weights == weights
        assert trace["stream"] is (turn % 3 == 1)
        assert trace["edits"]["set"] == params
    report = (await admin.get(f"/sessions/{session}/report")).json()
    assert (report["verdict"], report["prefix_breaks"]) == ("complete", [])

    assert await trainer.delete_session(session) == TURNS
    assert await trainer.get_session_traces(session) == []
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        await trainer.get_session_info(session)


async def in_flight(admin, calls):
    line = f"rllm_calls_in_flight {calls}\n"
    while line not in (await admin.get("/metrics")).text:
        await asyncio.sleep(0.01)


async def change_weights(admin, worker):
    """Pauses the gateway in mid-flight, waits until no call is under way, and goes on."""
    await asyncio.to_thread(worker.all_held.wait, 60)
    paused = await admin.post("/admin/pause", json={})
    assert paused.json() == {"status": "paused", "in_flight": SESSIONS}
    worker.go_on.set()
    paused = await admin.post("/admin/pause", json={"wait": 60})
    assert paused.json() == {"status": "paused", "in_flight": 0}
    # All agents have heard the reply, and wait at the door with the next call.
    await in_flight(admin, SESSIONS)
    assert collections.Counter(turn for _, turn in worker.said) == {
        turn: SESSIONS for turn in range(HELD + 1)
    }
    worker.weights = 2
    changed = await admin.post("/admin/weight_version", json={"weight_version": 2})
    assert changed.json() == {"weight_version": 2}
    resumed = await admin.post("/admin/resume")
    assert resumed.json() == {"status": "resumed"}


async def train(url, worker):
    limits = httpx.Limits(max_connections=None)
    async with (
        AsyncGatewayClient(url, timeout=60) as trainer,
        httpx.AsyncClient(base_url=url, timeout=90) as admin,
        DefaultAsyncHttpxClient(limits=limits, timeout=90) as http,
    ):
        # As the reference's own manager registers the servers of the rollout engine.
        await trainer.add_worker(url=worker.url)
        worker.weights = 1
        await admin.post("/admin/weight_version", json={"weight_version": 1})
        async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            tasks.create_task(change_weights(admin, worker))
            for number in range(SESSIONS):
                tasks.create_task(rollout(number, trainer, admin, http, worker))
        assert await trainer.list_sessions() == []
        metrics = (await admin.get("/metrics")).text.splitlines()
        assert f"rllm_calls_persisted_total {SESSIONS * TURNS}" in metrics
        assert "rllm_calls_in_flight 0" in metrics


def test_64_sessions_at_once_with_new_weights_in_the_middle(start, worker):
    gateway = start("", "--sampling-params-priority", "session")
    asyncio.run(train(gateway.url, worker))
    assert len(worker.said) == SESSIONS * TURNS
    tokens = [tuple(said.ids) for said in worker.said.values()]
    assert len(set(tokens)) == len(tokens), "no two replies are alike"
