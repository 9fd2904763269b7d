#!/bin/sh
# Factorial: a header, then decimal digits in chunks to concatenate; progress in between.
#
#   factorial.sh [N]
set -eu

grpcurl -plaintext -d "{\"n\": ${1:-100}}" \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/Factorial
