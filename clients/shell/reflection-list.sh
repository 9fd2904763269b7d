#!/bin/sh
# The gateway's services, then the methods of ComputeService.
set -eu

address=${FOREBAY_ADDRESS:-127.0.0.1:50051}
grpcurl -plaintext "$address" list
grpcurl -plaintext "$address" list forebay.compute.v1.ComputeService
