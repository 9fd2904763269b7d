#!/bin/sh
# The health of the gateway and its backends, or of one service. An unknown service gives NOT_FOUND
# (exit code 69).
#
#   health-check.sh [SERVICE]
set -eu

grpcurl -plaintext -d "{\"service\": \"${1:-}\"}" \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" grpc.health.v1.Health/Check
