#!/bin/sh
# The current health and each change, for some seconds. The stream then ends with DEADLINE_EXCEEDED
# (exit code 68), which is not a failure here.
#
#   health-watch.sh [SECONDS]
set -eu

grpcurl -plaintext -max-time "${1:-5}" -d '{"service": ""}' \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" grpc.health.v1.Health/Watch || [ $? -eq 68 ]
