"""One thread for the tests of validation: they are small, and workers share the cores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import threadpoolctl  # type: ignore[import-untyped]
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpoolctl.threadpool_limits(1):
        yield
    torch.set_num_threads(before)
