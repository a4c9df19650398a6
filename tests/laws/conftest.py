"""Property tests draw the same examples on every machine that sets ``CI``."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "laws",
    deadline=None,
    derandomize="CI" in os.environ,
    max_examples=2,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("laws")
