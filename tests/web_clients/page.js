// A page's calls by connect-web; `browser.mjs` opens it in Chromium.
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { ConnectError, createClient } from '@connectrpc/connect'
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web'

const TRANSPORTS = {
  json: (baseUrl) => createConnectTransport({ baseUrl }),
  get: (baseUrl) => createConnectTransport({ baseUrl, useHttpGet: true }),
  binary: (baseUrl) => createConnectTransport({ baseUrl, useBinaryFormat: true }),
  grpcWeb: (baseUrl) => createGrpcWebTransport({ baseUrl })
}

async function connected (baseUrl, kind) {
  const response = await fetch('descriptors.binpb')
  const bytes = new Uint8Array(await response.arrayBuffer())
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes))
  return createClient(registry.getService('forebay.compute.v1.ComputeService'), TRANSPORTS[kind](baseUrl))
}

async function failure (call) {
  try { await call() } catch (error) { return ConnectError.from(error) }
  throw new Error('it succeeded')
}

window.makeCalls = async (baseUrl, kind) => {
  const client = await connected(baseUrl, kind)
  const said = {}
  said.sum = (await client.add({ x: 1, y: 2 })).sum
  let digits = ''
  for await (const { part } of client.factorial({ n: 2_000n })) {
    if (part.case === 'digits') digits += part.value
  }
  said.digits = digits.length
  const refused = await failure(async () => { for await (const _ of client.factorial({ n: 4294967295n })); })
  said.refused = [refused.code, refused.details.map(({ type }) => type)]
  const options = { timeoutMs: 500 }
  said.late = (await failure(async () => { for await (const _ of client.factorial({ n: 9_000_000n }, options)); })).code
  return said
}

window.beginLongCall = async (baseUrl, kind) => {
  const client = await connected(baseUrl, kind)
  let id = null
  const stream = client.factorial({ n: 9_000_000n }, { onHeader: (headers) => { id = headers.get('forebay-call-id') } })
  window.longCall = stream[Symbol.asyncIterator]()
  await window.longCall.next()
  return id
}

window.tryToCall = async (baseUrl) => (await failure(async () => (await connected(baseUrl, 'json')).add({}))).message
