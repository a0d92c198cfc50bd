"""What is counted, as Prometheus and the source document read it."""

from prometheus_client.parser import text_string_to_metric_families

from wellnet_sse.metrics import CONTENT_TYPE_LATEST, Metrics


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def families(metrics: Metrics) -> dict[str, tuple[str, list[float]]]:
    """Type and values of each metric, as Prometheus' own parser understands the exposition."""
    parsed = text_string_to_metric_families(metrics.exposition().decode())
    return {family.name: (family.type, [sample.value for sample in family.samples]) for family in parsed}


def test_errors_per_minute_are_those_of_the_last_minute() -> None:
    clock = Clock()
    metrics = Metrics(clock=clock)
    metrics.error()
    clock.now += 30
    metrics.error()
    assert metrics.errors_per_minute() == 2
    clock.now += 30
    assert metrics.errors_per_minute() == 2
    clock.now += 0.1
    assert metrics.errors_per_minute() == 1
    clock.now += 60
    assert metrics.errors_per_minute() == 0


def test_failures_are_counted_for_ever() -> None:
    metrics = Metrics()
    metrics.error()
    metrics.error()
    kind, values = families(metrics)["wellnet_errors"]
    assert kind == "counter"
    assert values[0] == 2


def test_a_storm_of_errors_takes_no_memory_without_bound() -> None:
    metrics = Metrics()
    for _ in range(100_100):
        metrics.error()
    assert metrics.errors_per_minute() == 100_000


def test_deliveries_per_second_are_the_growth_between_samples() -> None:
    metrics = Metrics()
    metrics.sample_deliveries(100)
    metrics.sample_deliveries(350)
    assert metrics.deliveries_per_second == 250
    metrics.sample_deliveries(350)
    assert metrics.deliveries_per_second == 0


def test_what_is_exposed_is_read_when_it_is_asked_for() -> None:
    metrics = Metrics()
    values = [1.0]
    metrics.expose("connections", "Open streams", lambda: values[0])
    assert families(metrics)["wellnet_connections"] == ("gauge", [1.0])
    values[0] = 5
    assert families(metrics)["wellnet_connections"] == ("gauge", [5.0])


def test_what_only_grows_is_a_counter_to_prometheus() -> None:
    metrics = Metrics()
    metrics.expose("deliveries", "Events offered", lambda: 7, counts=True)
    assert families(metrics)["wellnet_deliveries"] == ("counter", [7.0])


def test_two_applications_do_not_share_their_metrics() -> None:
    one, two = Metrics(), Metrics()
    one.requests.labels("GET", 200).inc()
    assert families(one)["wellnet_http_requests"][1][0] == 1
    assert families(two)["wellnet_http_requests"][1] == []


def test_the_content_type_is_prometheus_own() -> None:
    assert CONTENT_TYPE_LATEST.startswith("text/plain")
