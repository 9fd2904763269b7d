#!/bin/sh
# MatMul of the caller's own matrices, small enough to be inline, row by row:
#   1 2 3     7  8
#   4 5 6  ×  9 10
#            11 12
set -eu

grpcurl -plaintext -d @ \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/MatMul <<'END'
{"operands": {
  "left": {"rows": 2, "cols": 3, "values": [1, 2, 3, 4, 5, 6]},
  "right": {"rows": 3, "cols": 2, "values": [7, 8, 9, 10, 11, 12]}
}}
END
