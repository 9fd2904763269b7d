#!/bin/sh
# Factorial as big-endian bytes. JSON shows bytes in base64, each chunk on its own.
#
#   factorial-binary.sh [N]
set -eu

grpcurl -plaintext -d "{\"n\": ${1:-100}, \"encoding\": \"INTEGER_ENCODING_BINARY\"}" \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/Factorial
