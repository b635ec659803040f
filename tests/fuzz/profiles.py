"""How many inputs the random tests draw.

The environment variable ``FUZZ_EXAMPLES`` sets the number for a longer run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
# The same inputs in every run of the suite; a longer run draws new ones.
_SAME_EVERY_TIME = "FUZZ_EXAMPLES" not in os.environ

settings.register_profile(
    "suite",
    max_examples=_EXAMPLES,
    derandomize=_SAME_EVERY_TIME,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")
few_examples = settings(settings.get_profile("suite"), max_examples=max(1, _EXAMPLES // 5))
"""For tests in which one example takes about a second."""
