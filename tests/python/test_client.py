"""Every public method of the reference's own clients, from PyPI, with all of its parameters: on an open
gateway, and with a token in the client's URL, which is the only place where they can have one."""

import asyncio
import contextlib
import inspect

import httpx
import pytest
from openai import OpenAI
from rllm_model_gateway.client import AsyncGatewayClient, GatewayClient
from rllm_model_gateway.models import TraceRecord, WorkerInfo

CLIENTS = pytest.mark.parametrize("kind", [GatewayClient, AsyncGatewayClient])

# What a URL cannot hold as it is, and the colon that ends a user's name.
AGENT, ADMIN = "agent:t/o@k?n=1", "admin:t/o@k?n=2"
DOORS = {
    "open": ("", "none", None),
    "one token": (f"inbound_auth_token: '{AGENT}'", AGENT, "agent"),
    "two tokens": (f"inbound_auth_token: '{AGENT}'\nadmin_auth_token: '{ADMIN}'", ADMIN, "admin"),
}


def public(kind):
    methods = inspect.getmembers(kind, inspect.isfunction)
    return {name: method for name, method in methods if not name.startswith("_")}


def with_token(url, token):
    """The URL with a token in it, as a person would write it."""
    return str(httpx.URL(url, username="any", password=token))


class Plainly:
    """A client of either kind, its methods called plainly; notes which parameters were used."""

    def __init__(self, client, run):
        self.client, self.run, self.used = client, run, {}

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(*args, **kwargs):
            bound = inspect.signature(method).bind(*args, **kwargs)
            self.used.setdefault(name, set()).update(bound.arguments)
            result = method(*args, **kwargs)
            return self.run(result) if inspect.isawaitable(result) else result

        return call


@contextlib.contextmanager
def opened(kind, url):
    with asyncio.Runner() as runner:
        client = Plainly(kind(url), runner.run)
        yield client
        client.close()


class Checks:
    """One check for each public method of the clients, under its name."""

    def __init__(self, client, gateway, principal):
        self.client, self.gateway, self.principal = client, gateway, principal

    def turns(self, session, *texts):
        """Says these through the session's URL."""
        agent = OpenAI(
            api_key="none", base_url=self.client.get_session_url(session), max_retries=0
        )
        for text in texts:
            messages = [{"role": "user", "content": text}]
            reply = agent.chat.completions.create(model="tiny", messages=messages)
            assert reply.choices[0].message.content == f"You said: {text}"
        agent.close()

    def create_session(self):
        made = self.client.create_session("org/made:0", metadata={"split": "train", "row": 7})
        assert made == "org/made:0"
        assert self.gateway.get("/sessions/org/made:0")["metadata"] == {"split": "train", "row": 7}
        first, second = self.client.create_session(), self.client.create_session()
        assert first and second and first != second
        # Again: what is given is new, what is not stays.
        assert self.client.create_session(session_id="org/made:0") == "org/made:0"
        assert self.gateway.get("/sessions/org/made:0")["metadata"] == {"split": "train", "row": 7}
        self.client.create_session("org/made:0", {"split": "test"})
        assert self.gateway.get("/sessions/org/made:0")["metadata"] == {"split": "test"}
        assert self.gateway.get("/sessions/org/made:0")["trace_count"] == 0

    def get_session_url(self):
        url = self.client.get_session_url("org/url:0")
        assert url == f"{self.client.client.gateway_url}/sessions/org/url:0/v1"
        self.turns("org/url:0", "hi")
        assert self.gateway.trace("org/url:0")["principal"] == self.principal

    def get_session_info(self):
        self.client.create_session("info", {"row": 1})
        self.turns("info", "one", "two")
        info = self.client.get_session_info("info")
        assert (info["session_id"], info["trace_count"]) == ("info", 2)
        assert (info["metadata"], type(info["created_at"])) == ({"row": 1}, float)
        assert info["created_at"] <= info["first_trace_at"] <= info["last_trace_at"]
        with refused(404):
            self.client.get_session_info("nobody")

    def list_sessions(self):
        sessions = [self.client.create_session(f"list-{number}") for number in range(3)]
        newest = self.client.list_sessions()[:3]
        assert [one["session_id"] for one in newest] == sessions[::-1]
        assert self.client.list_sessions(limit=2) == newest[:2]
        assert self.client.list_sessions(since=newest[1]["created_at"]) == newest[:2]
        assert self.client.list_sessions(since=newest[2]["created_at"], limit=1) == newest[:1]
        assert self.client.list_sessions(since=newest[0]["created_at"] + 3600) == []

    def delete_session(self):
        self.turns("deleted", "one", "two", "three")
        self.turns("deleted-not", "one")
        assert self.client.delete_session("deleted") == 3
        assert self.gateway.traces("deleted") == []
        assert self.client.delete_session("deleted") == 0
        assert len(self.gateway.traces("deleted-not")) == 1

    def get_session_traces(self):
        texts = ["one", "two", "three", "four"]
        self.turns("org/traces:0", *texts)
        traces = self.client.get_session_traces("org/traces:0")
        assert [trace.messages[0]["content"] for trace in traces] == texts
        for trace in traces:
            assert isinstance(trace, TraceRecord)
            assert len(trace.completion_token_ids) == len(trace.logprobs) == 3
            assert trace.prompt_token_ids and trace.finish_reason == "stop"
        committed = {
            trace["trace_id"]: trace["_created_at"]
            for trace in self.gateway.get("/traces?session_id=org/traces:0")["traces"]
        }
        third = committed[traces[2].trace_id]
        assert self.client.get_session_traces("org/traces:0", limit=2) == traces[:2]
        assert self.client.get_session_traces("org/traces:0", since=third) == traces[2:]
        assert self.client.get_session_traces("org/traces:0", third, 1) == traces[2:3]
        assert self.client.get_session_traces("nobody") == []

    def get_trace(self):
        self.turns("trace", "hi")
        (trace,) = self.client.get_session_traces("trace")
        assert self.client.get_trace(trace.trace_id) == trace
        with refused(404):
            self.client.get_trace("nothing")

    def add_worker(self):
        worker = self.client.add_worker("http://127.0.0.1:1", model_name="other", weight=3)
        (added,) = (one for one in self.client.list_workers() if one.worker_id == worker)
        assert (added.url, added.api_path) == ("http://127.0.0.1:1", "/v1")
        assert (added.model_name, added.weight) == ("other", 3)
        # The same one again, with other settings.
        again = self.client.add_worker("http://127.0.0.1:1", api_path="/api/v2", model_name="more")
        assert again == worker
        (added,) = (one for one in self.client.list_workers() if one.worker_id == worker)
        assert (added.api_url, added.model_name) == ("http://127.0.0.1:1/api/v2", "more")
        assert added.weight == 1
        # The path of a URL is not doubled by the one that the client always sends.
        worker = self.client.add_worker("http://127.0.0.1:3/v1")
        (added,) = (one for one in self.client.list_workers() if one.worker_id == worker)
        assert added.api_url == "http://127.0.0.1:3/v1"
        with refused(400):
            self.client.add_worker("file:///etc/passwd")

    def remove_worker(self):
        before = self.client.list_workers()
        worker = self.client.add_worker("http://127.0.0.1:2")
        self.client.remove_worker(worker)
        assert {one.worker_id for one in self.client.list_workers()} == {
            one.worker_id for one in before
        }
        with refused(404):
            self.client.remove_worker(worker)

    def list_workers(self):
        (first, *_) = self.client.list_workers()
        assert isinstance(first, WorkerInfo)
        assert (first.worker_id, first.model_name, first.weight) == ("0", None, 1)
        assert (first.healthy, first.active_requests) == (True, 0)
        assert first.api_url == first.url + "/v1"

    def flush(self):
        self.turns("flushed", "hi")
        assert self.client.flush() is True
        assert self.client.flush(timeout=5.0) is True

    def health(self):
        health = self.client.health()
        assert health["status"] == "ok" and health["version"]

    def close(self):
        self.client.close()
        with pytest.raises(RuntimeError, match="closed"):
            self.client.health()


@contextlib.contextmanager
def refused(status):
    with pytest.raises(httpx.HTTPStatusError) as refusal:
        yield
    assert refusal.value.response.status_code == status
    assert refusal.value.response.json()["error"]["message"]


@CLIENTS
@pytest.mark.parametrize("door", DOORS)
def test_every_method(start, upstream, kind, door):
    config, token, principal = DOORS[door]
    gateway = start(config, "--worker", upstream.url, token=token)
    url = gateway.url if principal is None else with_token(gateway.url, token)
    assert public(Checks).keys() - {"turns"} == public(kind).keys()
    with opened(kind, url) as client:
        checks = Checks(client, gateway, principal)
        for name in sorted(public(kind), key=lambda name: name == "close"):
            getattr(checks, name)()
        for name, method in public(kind).items():
            assert client.used[name] == inspect.signature(method).parameters.keys() - {"self"}
    # No token of ours went on to the worker; what opens nothing here is the worker's.
    calls = [one for one in upstream.get("/seen") if one["target"] == "/v1/chat/completions"]
    headers = {name.lower() for one in calls for name, _ in one["headers"]}
    assert ("authorization" in headers) is (principal is None)


@CLIENTS
def test_the_agents_token_opens_no_management(start, upstream, kind):
    config, admin, _ = DOORS["two tokens"]
    gateway = start(config, "--worker", upstream.url, token=admin)
    with opened(kind, with_token(gateway.url, AGENT)) as client:
        Checks(client, gateway, "agent").get_session_url()
        assert client.health()["status"] == "ok"
        for name in public(kind).keys() - {"get_session_url", "health", "close"}:
            with refused(403):
                call(client, name)
    assert [one["session_id"] for one in gateway.get("/sessions")] == ["org/url:0"]


@CLIENTS
def test_a_wrong_token_opens_nothing(start, upstream, kind):
    config, admin, _ = DOORS["two tokens"]
    gateway = start(config, "--worker", upstream.url, token=admin)
    for wrong in ["", "another", "admin", AGENT + "x", ADMIN[:-1]]:
        with opened(kind, with_token(gateway.url, wrong)) as client:
            for name in public(kind).keys() - {"get_session_url", "close"}:
                with refused(401):
                    call(client, name)
    assert gateway.get("/sessions") == [] and len(gateway.get("/admin/workers")) == 1


def call(client, name):
    """Calls a method with something for each parameter that it cannot do without."""
    parameters = inspect.signature(getattr(client.client, name)).parameters.values()
    getattr(client, name)(*("a" for one in parameters if one.default is one.empty))
