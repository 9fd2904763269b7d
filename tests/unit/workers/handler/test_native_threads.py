"""Sharing a machine's cores among the slots."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from forebay_workers.handler.native_threads import share_threads, thread_share

CORES = os.cpu_count() or 1


@pytest.fixture(autouse=True)
def _all_cores_afterwards() -> Iterator[None]:
    yield
    share_threads(1)


@pytest.mark.parametrize(
    ("slots", "share"), [(1, CORES), (CORES, 1), (2 * CORES, 1), (10 * CORES, 1)]
)
def test_a_slot_gets_its_share_of_the_cores_and_at_least_one(slots: int, share: int) -> None:
    share_threads(slots)
    assert thread_share() == share


def test_blas_gets_no_more_threads_than_its_environment_allows() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(1):
        share_threads(1)
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}


def test_blas_is_limited_to_the_share() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    share_threads(CORES)
    pools = threadpool_info()
    assert pools
    assert {pool["num_threads"] for pool in pools} == {1}
