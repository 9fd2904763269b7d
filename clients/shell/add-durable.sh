#!/bin/sh
# Add with a call id of the caller's own, which makes the call durable. Run it twice with the same
# id: the second call attaches to the first, and forebay-attached is "finished".
#
#   add-durable.sh [CALL-ID]
set -eu

grpcurl -plaintext -v -H "forebay-call-id: ${1:-shell-4-plus-6}" -d '{"x": 4, "y": 6}' \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/Add
