"""MatMul: the product of random matrices, or of the caller's, in panels of rows."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import grpc
import numpy as np

from forebay.compute.arrays import DTYPES, Array
from forebay.compute.checks import ITEM_BYTES, data_type, product_format
from forebay.compute.v1 import compute_pb2 as pb
from forebay.metadata import CALL_ID
from forebay_workers.compute.background import Background, ProgressMark
from forebay_workers.compute.blocks import Blocks

_WORDS_AT_ONCE = 1 << 16  # 0.5 MiB, which fits into a core's cache


def mat_mul(
    requests: Iterator[pb.MatMulRequest], context: grpc.ServicerContext
) -> Iterator[pb.MatMulResponse]:
    """Yields a header, then panels in order, and progress every 0.25 s.

    A product of moderate size is computed whole. A larger one is computed block by block,
    and its panels are sent meanwhile. Ends within 0.5 s of a cancellation.
    """
    task = _task(requests, context)
    yield pb.MatMulResponse(header=task.header)
    with Background(partial(_panels, task), context.is_active) as parts:
        for part in parts:
            yield pb.MatMulResponse(progress=part) if isinstance(part, pb.Progress) else part


@dataclass(frozen=True)
class _Task:
    """A product to compute; `make` returns the operands, and may take long."""

    header: pb.MatrixHeader
    form: pb.ProductFormat.ValueType
    make: Callable[[], tuple[Array, Array]]


def _task(requests: Iterator[pb.MatMulRequest], context: grpc.ServicerContext) -> _Task:
    first = next(requests)
    if first.WhichOneof("part") == "random":
        return _random_task(first.random, context)
    return _own_task(first.operands, requests)


def _random_task(random: pb.RandomOperands, context: grpc.ServicerContext) -> _Task:
    seed = random.seed if random.HasField("seed") else seed_from(_call_id(context))
    dtype = data_type(random.dtype)
    header = pb.MatrixHeader(dtype=dtype, rows=random.m, cols=random.m, seed=seed)
    return _Task(header, product_format(random), partial(random_operands, random, seed))


def _own_task(operands: pb.Operands, requests: Iterator[pb.MatMulRequest]) -> _Task:
    left = _gathered(operands.left, requests, "left_chunk")
    right = _gathered(operands.right, requests, "right_chunk")
    for _ in requests:
        pass  # reads to the stream's end, so that the check can count all chunks
    dtype = data_type(operands.left.dtype)
    header = pb.MatrixHeader(dtype=dtype, rows=operands.left.rows, cols=operands.right.cols)
    return _Task(header, product_format(operands), lambda: (left, right))


def seed_from(call_id: str) -> int:
    """Returns the seed of a call without one: the same on every worker and attempt."""
    return int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:8], "big")


def random_operands(random: pb.RandomOperands, seed: int) -> tuple[Array, Array]:
    """Returns A of m×n and B of n×m, filled from one stream of words: first A, then B.

    The stream is Philox 4x64-10's raw words (Salmon et al., Parallel Random Numbers:
    As Easy as 1, 2, 3, 2011), keyed by the seed. NumPy guarantees that a bit generator's
    words never change, but does not guarantee its distributions. A double is a word's upper
    53 bits × 2^-53, a single its upper 24 × 2^-24, an integer its uppermost bit. A complex
    number takes two words.
    """
    dtype = DTYPES[data_type(random.dtype)]
    left, right = np.empty((random.m, random.n), dtype), np.empty((random.n, random.m), dtype)
    # NumPy's generators release the GIL, so both matrices are filled at once.
    other = threading.Thread(target=_fill, args=(right, seed, _words_of(left)))
    other.start()
    _fill(left, seed, 0)
    other.join()
    return left, right


def _words_of(matrix: Array) -> int:
    return matrix.size * (2 if matrix.dtype.kind == "c" else 1)


def _fill(matrix: Array, seed: int, skipped: int) -> None:
    """Fills the matrix from the seed's words, after the first `skipped`."""
    words = np.random.Philox(key=seed).advance(skipped // 4)  # Philox makes four words a step
    words.random_raw(skipped % 4)
    flat: Array = matrix.reshape(-1)
    numbers = flat.view(f"<f{flat.itemsize // 2}") if flat.dtype.kind == "c" else flat
    bits = 1 if numbers.dtype.kind == "i" else 53 if numbers.itemsize == 8 else 24
    scale = 1 if bits == 1 else 2.0**-bits
    for start in range(0, numbers.size, _WORDS_AT_ONCE):
        part = numbers[start : start + _WORDS_AT_ONCE]
        raw = words.random_raw(part.size) >> np.uint64(64 - bits)
        np.multiply(raw, scale, out=part, casting="unsafe")


def _call_id(context: grpc.ServicerContext) -> str:
    return str(dict(context.invocation_metadata()).get(CALL_ID, ""))


def _gathered(matrix: pb.Matrix, requests: Iterator[pb.MatMulRequest], field: str) -> Array:
    """Returns the matrix: from its values, or from the stream's next chunks."""
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


def _panels(task: _Task, mark: ProgressMark) -> Iterator[pb.MatMulResponse]:
    blocks, row = Blocks(*task.make()), 0
    for block in range(len(blocks)):
        for panel in blocks.panels(block):
            mark.at(row / task.header.rows, "multiply")
            response = _panel(row, panel, task)
            row += response.panel.rows
            yield response


def _panel(first_row: int, content: memoryview, task: _Task) -> pb.MatMulResponse:
    header = task.header
    response = pb.MatMulResponse()  # filled in place: protobuf would copy a message given to it
    panel = response.panel
    panel.first_row = first_row
    panel.rows = len(content) // (header.cols * ITEM_BYTES[header.dtype])
    if task.form == pb.PRODUCT_FORMAT_VALUES:
        panel.values.extend(np.frombuffer(content, DTYPES[header.dtype]))
    else:
        panel.data = bytes(content)
    return response
