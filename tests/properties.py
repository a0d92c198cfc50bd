"""Settings for property tests: a slow machine is no failure, and each test chooses its own thoroughness."""

from hypothesis import HealthCheck, settings

CALM = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
