#!/bin/sh
# Add: a unary call. -v prints the trailers, which have the call's id and times.
set -eu

grpcurl -plaintext -v -d '{"x": 4, "y": 6}' \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/Add
