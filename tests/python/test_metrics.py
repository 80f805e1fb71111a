"""The metrics page as a scraper reads it, by Prometheus' own parser."""

import json
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

TYPES = {"counter", "gauge", "histogram"}


def page(gateway):
    with urllib.request.urlopen(gateway.url + "/metrics") as reply:
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        text = reply.read().decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {family.name: family for family in families}


def call(gateway, model, session):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(
        gateway.url + "/v1/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json", "x-rllm-session-id": session},
    )
    try:
        return urllib.request.urlopen(request).read()
    except urllib.error.HTTPError as error:
        return error.read()


def test_every_family_is_read_as_what_it_is(gateway):
    odd = 'a"b\\c\nd, {e="f"} é'
    before = page(gateway)
    call(gateway, odd, "metrics")
    call(gateway, "status-400", "metrics")
    after = page(gateway)

    assert set(before) == set(after)
    for name, family in after.items():
        assert family.type in TYPES, name
        assert family.documentation, name
        assert name.startswith("rllm_"), name

    def value(families, family, sample, **labels):
        samples = families[family].samples
        fits = [
            each
            for each in samples
            if each.name == sample and labels.items() <= each.labels.items()
        ]
        return sum(each.value for each in fits)

    def grown(family, sample, **labels):
        return value(after, family, sample, **labels) - value(before, family, sample, **labels)

    assert grown("rllm_calls", "rllm_calls_total", model=odd, outcome="completed", status="200") == 1
    assert grown("rllm_calls", "rllm_calls_total", model="status-400", status="400") == 1
    duration = "rllm_call_duration_seconds"
    assert grown(duration, duration + "_count", model=odd) == 1
    assert grown(duration, duration + "_bucket", model=odd, le="+Inf") == 1
    assert grown("rllm_calls_accepted", "rllm_calls_accepted_total") == 2

    kinds = ["persisted", "deleted"]
    total = sum(value(after, f"rllm_calls_{kind}", f"rllm_calls_{kind}_total") for kind in kinds)
    total += value(after, "rllm_calls_in_flight", "rllm_calls_in_flight")
    assert total == value(after, "rllm_calls_accepted", "rllm_calls_accepted_total")
