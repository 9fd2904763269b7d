#!/bin/sh
# The definitions of symbols: by default a service, a method and a message. A method's route is one
# of its options.
#
#   reflection-describe.sh [SYMBOL ...]
set -eu

[ $# -gt 0 ] || set -- forebay.compute.v1.ComputeService \
  forebay.compute.v1.ComputeService.Factorial forebay.compute.v1.FactorialRequest
for symbol in "$@"; do
  grpcurl -plaintext "${FOREBAY_ADDRESS:-127.0.0.1:50051}" describe "$symbol"
done
