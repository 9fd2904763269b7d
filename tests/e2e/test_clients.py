"""The Python clients, blocking and asyncio, on a running gateway."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Iterator

import grpc
import numpy as np
import pytest

import forebay
import forebay.aio
from forebay.compute.arrays import DTYPES
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.conftest import Up
from tests.matrices import exact


@pytest.fixture
def client(up: Up) -> Iterator[forebay.Client]:
    with forebay.connect(up.address) as client:
        yield client


@pytest.fixture
async def async_client(up: Up) -> AsyncIterator[forebay.aio.AsyncClient]:
    async with forebay.aio.connect(up.address) as client:
        yield client


def test_add_and_factorial_return_numbers(client: forebay.Client) -> None:
    assert client.add(4, 6, timeout=30) == 10.0
    assert client.factorial(20_000, timeout=30) == math.factorial(20_000)


def test_digits_arrive_in_chunks_of_text(client: forebay.Client) -> None:
    pieces = list(client.factorial_digits(200_000, timeout=60))
    assert len(pieces) > 1
    assert sum(map(len, pieces)) == 973_351
    assert "".join(pieces).startswith("1420225345470314404966")


def test_progress_is_reported(client: forebay.Client) -> None:
    reported: list[tuple[float, str]] = []
    client.factorial(3_000_000, progress=lambda *at: reported.append(at), timeout=60)
    assert reported
    assert all(0 <= fraction <= 1 for fraction, _ in reported)
    assert [fraction for fraction, _ in reported] == sorted(fraction for fraction, _ in reported)


@pytest.mark.parametrize("dtype", [*DTYPES.values(), np.dtype("float16"), np.dtype("uint8")])
def test_matmul_is_numpys(client: forebay.Client, dtype: np.dtype) -> None:  # type: ignore[type-arg]
    generator = np.random.default_rng(3)
    a = exact(generator, 40, 30, dtype)
    b = np.asfortranarray(exact(generator, 30, 20, dtype))
    expected = a.astype(np.result_type(dtype, np.int32 if dtype.kind in "iu" else np.float32))
    product = client.matmul(a, b, timeout=30)
    assert np.allclose(product, expected @ b.astype(expected.dtype), rtol=1e-4)
    if dtype in DTYPES.values():
        assert product.dtype == dtype
        assert np.array_equal(product, a @ np.ascontiguousarray(b))


def test_types_that_differ_are_promoted_as_numpy_does(client: forebay.Client) -> None:
    a, b = np.arange(6).reshape(2, 3), np.ones((3, 2), np.float32)
    assert client.matmul(a, b, timeout=30).dtype == np.result_type(a, b)


def test_matrices_that_can_not_be_multiplied_are_rejected_before_the_call(
    client: forebay.Client,
) -> None:
    with pytest.raises(ValueError, match="can't be multiplied"):
        client.matmul(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(TypeError, match="can't be multiplied"):
        client.matmul(np.array([["a"]]), np.array([["b"]]))


def test_the_same_seed_gives_the_same_product(client: forebay.Client) -> None:
    first, again = (client.random_matmul(50, 10, seed=5, timeout=30) for _ in range(2))
    assert np.array_equal(first, again)
    assert client.random_matmul(3, 2, dtype="complex64", timeout=30).dtype == np.complex64


def test_errors_are_forebays_own(client: forebay.Client) -> None:
    with pytest.raises(forebay.OutOfRange) as raised:
        client.factorial(10**8, timeout=30)
    assert raised.value.violations[0].field == "n"
    assert raised.value.code_name == "OUT_OF_RANGE"
    with pytest.raises(forebay.TooLarge):
        client.random_matmul(10**6, 10**6, timeout=30)
    with pytest.raises(forebay.DeadlineExceeded):
        client.factorial(10**7, timeout=0.3)


def test_an_iterator_left_early_cancels_its_call(client: forebay.Client) -> None:
    pieces = client.factorial_digits(3_000_000, timeout=60)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert client.factorial(10, timeout=30) == 3_628_800  # the one slot is free again


def test_a_channels_options_are_the_callers_first(up: Up) -> None:
    options = [("grpc.max_receive_message_length", 8)]
    with forebay.channel(up.address, options=options, resume=False) as channel:
        add = ComputeServiceStub(channel).Add.future(pb.AddRequest(x=1), timeout=30)
        assert add.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_missing_gateway_is_a_backend_error() -> None:
    with forebay.connect("127.0.0.1:1") as client, pytest.raises(forebay.BackendError):
        client.add(1, 2, timeout=5)


async def test_the_asyncio_class_does_the_same(async_client: forebay.aio.AsyncClient) -> None:
    a = np.arange(6.0).reshape(2, 3)
    total, factorial, product, random = await asyncio.gather(
        async_client.add(4, 6, timeout=30),
        async_client.factorial(20_000, timeout=30),
        async_client.matmul(a, a.T, timeout=30),
        async_client.random_matmul(5, 4, seed=5, timeout=30),
    )
    assert total == 10.0
    assert factorial == math.factorial(20_000)
    assert np.array_equal(product, a @ a.T)
    assert random.shape == (5, 5)
    pieces = [piece async for piece in async_client.factorial_digits(1000, timeout=30)]
    assert len(list(itertools.chain(*pieces))) == 2568
    with pytest.raises(forebay.OutOfRange):
        await async_client.factorial(10**8, timeout=30)


async def test_cancelling_a_task_cancels_its_call(async_client: forebay.aio.AsyncClient) -> None:
    task = asyncio.create_task(async_client.factorial(10**7, timeout=60))
    await asyncio.sleep(0.5)  # so that it has begun; the next line holds either way
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await async_client.factorial(10, timeout=30) == 3_628_800
