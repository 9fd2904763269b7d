// ComputeService from its .proto files, and the metadata and error details of calls.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const PROTOS = fileURLToPath(new URL('../../protos', import.meta.url));

// uint64 as text: a JavaScript number can't represent every seed. `oneofs` adds the name of the
// field that is set in a oneof; `json` decodes google.protobuf.Any.
const OPTIONS = { keepCase: true, longs: String, enums: String, oneofs: true, json: true };

const contract = grpc.loadPackageDefinition(
  protoLoader.loadSync('forebay/compute/v1/compute.proto', { ...OPTIONS, includeDirs: [PROTOS] }),
);
const richStatus = protoLoader.loadSync(
  fileURLToPath(new URL('rich_status.proto', import.meta.url)),
  OPTIONS,
)['google.rpc.Status'];

/** A client of the gateway at HOST:PORT. It connects at the first call; the caller closes it. */
export function connect(target) {
  return new contract.forebay.compute.v1.ComputeService(target, credentials(process.env), {
    // Detects a dead connection within 30 s; gateways accept a ping every 10 s.
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 10_000,
  });
}

/** TLS, if the variables of `forebay` name the gateway's CA, with a certificate if there is one. */
function credentials(variables) {
  const [ca, key, cert] = ['CA', 'KEY', 'CERT'].map((name) => {
    const file = variables[`FOREBAY_CLIENT__${name}`];
    return file ? readFileSync(file) : null;
  });
  return ca ? grpc.credentials.createSsl(ca, key, cert) : grpc.credentials.createInsecure();
}

/** The call's Forebay metadata: `initial` and `trailing` are filled in as they arrive. */
export function metadataOf(call) {
  const received = { initial: {}, trailing: {} };
  call.on('metadata', (metadata) => (received.initial = ours(metadata)));
  call.on('status', (status) => (received.trailing = ours(status.metadata)));
  return received;
}

/** A call's error as a plain object, with the details from its trailing metadata. */
export function describe(error) {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const details = bytes ? richStatus.deserialize(bytes).details : [];
  return { code: grpc.status[error.code], message: error.details, details };
}

/** Whether the error is the status of a call, and not a bug in the program. */
export function isStatus(error) {
  return error.metadata instanceof grpc.Metadata;
}

function ours(metadata) {
  return Object.fromEntries(
    Object.entries(metadata.getMap()).filter(([key]) => key.startsWith('forebay-')),
  );
}
