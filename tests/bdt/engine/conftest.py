"""A cache of compiled kernels that lasts for the session, and is not the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROOTML_CACHE", os.fspath(tmp_path_factory.mktemp("cache", numbered=False)))
        yield
