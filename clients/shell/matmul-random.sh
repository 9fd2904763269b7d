#!/bin/sh
# MatMul of random operands: A is 3x4, B is 4x3. The same seed gives the same matrices. VALUES makes
# the entries readable; the default for random operands is bytes.
#
#   matmul-random.sh [SEED]
set -eu

random="{\"m\": 3, \"n\": 4, \"seed\": ${1:-7}, \"format\": \"PRODUCT_FORMAT_VALUES\"}"
grpcurl -plaintext -d "{\"random\": $random}" \
  "${FOREBAY_ADDRESS:-127.0.0.1:50051}" forebay.compute.v1.ComputeService/MatMul
