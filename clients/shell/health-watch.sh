#!/bin/sh
# The health now and each change of it, for some seconds. That the time is up ends the
# stream with DEADLINE_EXCEEDED (exit code 68), which is no failure here.
#
#   health-watch.sh [SECONDS]
set -eu

grpcurl -plaintext -max-time "${1:-5}" -d '{"service": ""}' \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" grpc.health.v1.Health/Watch || [ $? -eq 68 ]
