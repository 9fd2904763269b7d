#!/bin/sh
# Factorial as big-endian bytes. In JSON each chunk is base64 of its own.
#
#   factorial-binary.sh [N]
set -eu

grpcurl -plaintext -d "{\"n\": ${1:-100}, \"encoding\": \"INTEGER_ENCODING_BINARY\"}" \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/Factorial
