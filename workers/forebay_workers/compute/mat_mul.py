"""MatMul: a product of random matrices, or of the caller's own, in panels of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np

from forebay.compute.arrays import CHUNK_BYTES, DTYPES, Array
from forebay.compute.checks import data_type, product_format
from forebay.compute.v1 import compute_pb2 as pb
from forebay.metadata import CALL_ID
from forebay_workers.compute.background import Background, ProgressMark

WHOLE_FLOPS = {"f": 2 << 33, "c": 2 << 31, "i": 2 << 29}
"""Up to here a product is computed whole, as NumPy's `matmul` does it: within about 1 s."""

_WORD = 1 << 64


def mat_mul(
    requests: Iterator[pb.MatMulRequest], context: grpc.ServicerContext
) -> Iterator[pb.MatMulResponse]:
    """A header, then panels in order; progress every 0.25 s.

    A product of moderate size is computed whole; a larger one panel by panel, so
    that it streams out as it is computed. Ends within 0.5 s of a cancellation.
    """
    first = next(requests)
    if first.WhichOneof("part") == "random":
        random = first.random
        seed = random.seed if random.HasField("seed") else seed_from(_call_id(context))
        left, right = random_operands(random, seed)
        header = pb.MatrixHeader(seed=seed)
        form = product_format(random)
        dtype = data_type(random.dtype)
    else:
        operands = first.operands
        left, right = _own_operands(operands, requests)
        header = pb.MatrixHeader()
        form = product_format(operands)
        dtype = data_type(operands.left.dtype)
    header.dtype, header.rows, header.cols = dtype, left.shape[0], right.shape[1]
    yield pb.MatMulResponse(header=header)
    with Background(lambda mark: _panels(left, right, form, mark), context.is_active) as panels:
        for part in panels:
            if isinstance(part, pb.Progress):
                yield pb.MatMulResponse(progress=part)
            else:
                yield pb.MatMulResponse(panel=part)


def seed_from(call_id: str) -> int:
    """The seed of a call that gave none: one call has one, on every worker and attempt."""
    return int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:8], "big")


def random_operands(random: pb.RandomOperands, seed: int) -> tuple[Array, Array]:
    """A of m×n and B of n×m, from one stream of numbers: A's come first.

    The stream is Philox 4x64-10's raw words (Salmon et al., Parallel Random Numbers:
    As Easy as 1, 2, 3, 2011), keyed by the seed: NumPy promises bit generators' words
    for all time, but not what its distributions make of them. A double is a word's
    upper 53 bits × 2^-53, a single its upper 24 × 2^-24, an integer its uppermost
    bit; a complex takes two.
    """
    words = np.random.Philox(key=seed)
    dtype = DTYPES[data_type(random.dtype)]
    left = _entries(words, random.m * random.n, dtype).reshape(random.m, random.n)
    right = _entries(words, random.n * random.m, dtype).reshape(random.n, random.m)
    return left, right


def _entries(words: np.random.Philox, count: int, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "i":
        return (words.random_raw(count) >> np.uint64(63)).astype(dtype)
    if dtype.kind == "c":
        parts = _entries(words, 2 * count, np.dtype(f"<f{dtype.itemsize // 2}"))
        return parts.view(dtype)
    bits = 53 if dtype.itemsize == 8 else 24
    raw = words.random_raw(count) >> np.uint64(64 - bits)
    return (raw * 2.0**-bits).astype(dtype)


def _call_id(context: grpc.ServicerContext) -> str:
    return str(dict(context.invocation_metadata()).get(CALL_ID, ""))


def _own_operands(
    operands: pb.Operands, requests: Iterator[pb.MatMulRequest]
) -> tuple[Array, Array]:
    left = _gathered(operands.left, requests, "left_chunk")
    right = _gathered(operands.right, requests, "right_chunk")
    for _ in requests:
        pass  # to the end, where the check says whether that was all
    return left, right


def _gathered(matrix: pb.Matrix, requests: Iterator[pb.MatMulRequest], field: str) -> Array:
    """The matrix: from its values, or from the chunks that are next in the stream."""
    dtype = DTYPES[data_type(matrix.dtype)]
    if matrix.values:
        return np.array(matrix.values).astype(dtype).reshape(matrix.rows, matrix.cols)
    gathered = np.empty((matrix.rows, matrix.cols), dtype)
    view, filled = gathered.data.cast("B"), 0
    while filled < len(view):
        chunk: bytes = getattr(next(requests), field)
        view[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    return gathered


def _panels(
    left: Array, right: Array, form: pb.ProductFormat.ValueType, mark: ProgressMark
) -> Iterator[pb.Panel]:
    rows = max(1, CHUNK_BYTES // (right.shape[1] * right.itemsize))
    flops = 2 * left.shape[0] * left.shape[1] * right.shape[1]
    whole = left @ right if flops <= WHOLE_FLOPS[left.dtype.kind] else None
    for first in range(0, left.shape[0], rows):
        mark.at(first / left.shape[0], "multiply")
        panel = (
            whole[first : first + rows] if whole is not None else left[first : first + rows] @ right
        )
        if form == pb.PRODUCT_FORMAT_VALUES:
            yield pb.Panel(first_row=first, rows=len(panel), values=panel.ravel())
        else:
            yield pb.Panel(first_row=first, rows=len(panel), data=panel.tobytes())
