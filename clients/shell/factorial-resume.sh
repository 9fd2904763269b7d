#!/bin/sh
# Resuming a stream: the whole call, then the same call with the number of items already received.
# Here that is 1, the header; progress does not count.
#
#   factorial-resume.sh [CALL-ID [N]]
set -eu

factorial() {
  grpcurl -plaintext -H "forebay-call-id: $1" -H "forebay-resume-from: $2" -d "{\"n\": $3}" \
    "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/Factorial
}

call_id=${1:-shell-factorial} n=${2:-100}
factorial "$call_id" 0 "$n"
factorial "$call_id" 1 "$n"
