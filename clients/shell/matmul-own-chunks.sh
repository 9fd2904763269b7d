#!/bin/sh
# The product of matmul-own.sh, with the matrices as chunks of bytes: the request stream has several
# messages, one JSON object each. In JSON bytes are base64; these are int32, row-major and
# little-endian. The left matrix has two chunks.
set -eu

# Integers as int32, in base64.
int32() {
  for value in "$@"; do
    printf "\\$(printf %o "$value")\\0\\0\\0" # values from 0 to 255 only
  done | base64
}

grpcurl -plaintext -d @ \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/MatMul <<END
{"operands": {
  "left": {"dtype": "DATA_TYPE_INT32", "rows": 2, "cols": 3},
  "right": {"dtype": "DATA_TYPE_INT32", "rows": 3, "cols": 2},
  "format": "PRODUCT_FORMAT_VALUES"
}}
{"left_chunk": "$(int32 1 2 3)"}
{"left_chunk": "$(int32 4 5 6)"}
{"right_chunk": "$(int32 7 8 9 10 11 12)"}
END
