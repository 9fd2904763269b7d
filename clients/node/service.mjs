// ComputeService from its .proto files, and what a call says beside its messages.

import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const PROTOS = fileURLToPath(new URL('../../protos', import.meta.url));

// uint64 as text: a seed does not fit a JavaScript number. `oneofs` adds to each
// message the name of its part; `json` opens google.protobuf.Any.
const OPTIONS = { keepCase: true, longs: String, enums: String, oneofs: true, json: true };

const contract = grpc.loadPackageDefinition(
  protoLoader.loadSync('forebay/compute/v1/compute.proto', { ...OPTIONS, includeDirs: [PROTOS] }),
);
const richStatus = protoLoader.loadSync(
  fileURLToPath(new URL('rich_status.proto', import.meta.url)),
  OPTIONS,
)['google.rpc.Status'];

/** A client of the gateway at HOST:PORT; it connects at its first call. Close it. */
export function connect(target) {
  return new contract.forebay.compute.v1.ComputeService(target, grpc.credentials.createInsecure(), {
    // A dead connection is noticed within 30 s; gateways accept pings from 10 s on.
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 10_000,
  });
}

/** What the gateway says of a call in metadata: `initial`, then `trailing`, as they come. */
export function metadataOf(call) {
  const heard = { initial: {}, trailing: {} };
  call.on('metadata', (metadata) => (heard.initial = ours(metadata)));
  call.on('status', (status) => (heard.trailing = ours(status.metadata)));
  return heard;
}

/** An error of a call as a plain object, with the details that are in its trailing metadata. */
export function describe(error) {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const details = bytes ? richStatus.deserialize(bytes).details : [];
  return { code: grpc.status[error.code], message: error.details, details };
}

/** Whether this is an error that a call ended with, and not a fault of the program. */
export function isStatus(error) {
  return error.metadata instanceof grpc.Metadata;
}

function ours(metadata) {
  return Object.fromEntries(
    Object.entries(metadata.getMap()).filter(([key]) => key.startsWith('forebay-')),
  );
}
