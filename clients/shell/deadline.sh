#!/bin/sh
# A deadline that is too short for the work: the call ends with DEADLINE_EXCEEDED (exit code 68), and
# the worker stops.
#
#   deadline.sh [SECONDS]
set -eu

grpcurl -plaintext -max-time "${1:-0.5}" -d '{"n": 10000000}' \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/Factorial
