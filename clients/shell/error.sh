#!/bin/sh
# A bad request: n is over the limit. The error has an ErrorInfo, whose reason is for programs, and
# a BadRequest, which names the field. grpcurl exits with 64 plus the status code: 75, OUT_OF_RANGE.
set -eu

grpcurl -plaintext -format-error -d '{"n": 20000000000}' \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/Factorial
