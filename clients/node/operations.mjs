// Add, Factorial and MatMul as functions on plain values.
//
// `options` are gRPC's call options, such as { deadline }. All functions reject with gRPC's
// ServiceError. `onProgress` is called with each progress and the call.

import { Readable } from 'node:stream';
import grpc from '@grpc/grpc-js';
import { metadataOf } from './service.mjs';

const DOUBLE_BYTES = 8;
const CHUNK_BYTES = 20; // tiny, and no multiple of 8: a chunk may end anywhere

/** x + y; `callId` makes the call durable and names it. */
export function add(client, x, y, options, callId) {
  const request = new grpc.Metadata();
  if (callId) request.set('forebay-call-id', callId);
  return new Promise((resolve, reject) => {
    let sum;
    const call = client.Add({ x, y }, request, options, (error, response) => {
      if (error) reject(error);
      else sum = response.sum;
    });
    const metadata = metadataOf(call);
    call.on('status', () => resolve({ sum, metadata })); // comes after the response and trailing metadata
  });
}

/** n! as a header and decimal digits. */
export async function factorial(client, n, options, onProgress) {
  const call = client.Factorial({ n }, options);
  const metadata = metadataOf(call);
  const result = { header: undefined, digits: '' };
  for await (const response of call) {
    if (response.part === 'progress') onProgress(response.progress, call);
    else if (response.part === 'header') result.header = response.header;
    else result.digits += response.digits;
  }
  return { ...result, metadata };
}

/** The product of random matrices, m×n and n×m; the same seed gives the same matrices. */
export function matMulRandom(client, m, n, seed, options, onProgress) {
  return matMul(client, [{ random: { m, n, seed } }], options, onProgress);
}

/** The product of two matrices of doubles, which are arrays of rows; they are sent in chunks. */
export function matMulOwn(client, left, right, options, onProgress) {
  return matMul(client, ownOperands(left, right), options, onProgress);
}

async function matMul(client, requests, options, onProgress) {
  const call = client.MatMul(options);
  const metadata = metadataOf(call);
  Readable.from(requests).pipe(call); // waits while the flow-control window is full, then half-closes
  let header;
  const panels = [];
  for await (const response of call) {
    if (response.part === 'progress') onProgress(response.progress, call);
    else if (response.part === 'header') header = response.header;
    else panels.push(response.panel.data);
  }
  const bytes = Buffer.concat(panels);
  return { header, bytes, rows: rowsOf(bytes, Number(header.cols)), metadata };
}

function* ownOperands(left, right) {
  const shape = (matrix) => ({
    dtype: 'DATA_TYPE_FLOAT64',
    rows: matrix.length,
    cols: matrix[0].length,
  });
  yield { operands: { left: shape(left), right: shape(right) } };
  for (const chunk of chunksOf(left)) yield { left_chunk: chunk };
  for (const chunk of chunksOf(right)) yield { right_chunk: chunk };
}

function* chunksOf(matrix) {
  const values = matrix.flat();
  const bytes = Buffer.alloc(values.length * DOUBLE_BYTES);
  values.forEach((value, index) => bytes.writeDoubleLE(value, index * DOUBLE_BYTES));
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES)
    yield bytes.subarray(start, start + CHUNK_BYTES);
}

function rowsOf(bytes, cols) {
  const rows = [];
  for (let start = 0; start < bytes.length; start += DOUBLE_BYTES) {
    if ((start / DOUBLE_BYTES) % cols === 0) rows.push([]);
    rows.at(-1).push(bytes.readDoubleLE(start));
  }
  return rows;
}
