"""A small context that learns in a blink: blobs in twelve dimensions."""

from __future__ import annotations

import pytest

from structure_net.evolution import NetworkContext
from structure_net.testing import example_context


@pytest.fixture
def context() -> NetworkContext:
    return example_context()
