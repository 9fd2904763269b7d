"""The Celery tutorial's client, over gRPC: `python call_modules.py [HOST:PORT]`.

It calls the tutorial's three tasks. A client in any other language could do the same.
"""

from __future__ import annotations

import sys

import grpc
from tutorial_pb2 import AddRequest, FactorialRequest, MatMulRequest
from tutorial_pb2_grpc import TutorialStub

TIMEOUT_S = 60.0


def main(address: str) -> None:
    """Makes the calls, and prints their results."""
    with grpc.insecure_channel(address) as channel:
        stub = TutorialStub(channel)
        print(stub.Factorial(FactorialRequest(n=1000), timeout=TIMEOUT_S).digits)
        try:
            print(stub.Factorial(FactorialRequest(n=20000), timeout=TIMEOUT_S).digits)
        except grpc.RpcError as error:  # Python writes no integer of over 4,300 digits into JSON
            print(f"{error.code().name}: {error.details()}")
        product = stub.MatMul(MatMulRequest(m=20, n=20), timeout=TIMEOUT_S)
        print([list(row.values) for row in product.rows])
        print(stub.Add(AddRequest(x=4, y=6), timeout=TIMEOUT_S).sum)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
