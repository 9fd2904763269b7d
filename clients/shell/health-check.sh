#!/bin/sh
# Whether the gateway and its backends are well; or one service. An unknown service is
# NOT_FOUND (exit code 69).
#
#   health-check.sh [SERVICE]
set -eu

grpcurl -plaintext -d "{\"service\": \"${1:-}\"}" \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" grpc.health.v1.Health/Check
