// Calls of the web front by Connect's own clients for Node and for browsers; prints a line of JSON for each.
// node calls.mjs URL DESCRIPTORS
import { readFileSync } from 'node:fs'
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { ConnectError, createClient } from '@connectrpc/connect'
import * as forNode from '@connectrpc/connect-node'
import * as forBrowsers from '@connectrpc/connect-web'

const [baseUrl, file] = process.argv.slice(2)
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(file)))
const service = registry.getService('test.Service')
const text = (data) => new TextDecoder().decode(data)
const bytes = (data) => new TextEncoder().encode(data)

const transports = {}
for (const useBinaryFormat of [true, false]) {
  const codec = useBinaryFormat ? 'binary' : 'json'
  const inNode = { baseUrl, useBinaryFormat, httpVersion: '1.1', sendCompression: forNode.compressionGzip, compressMinBytes: 100 }
  transports[`connect-node ${codec}`] = forNode.createConnectTransport(inNode)
  transports[`connect-node grpc-web ${codec}`] = forNode.createGrpcWebTransport(inNode)
  transports[`connect-web ${codec}`] = forBrowsers.createConnectTransport({ baseUrl, useBinaryFormat })
  transports[`connect-web get ${codec}`] = forBrowsers.createConnectTransport({ baseUrl, useBinaryFormat, useHttpGet: true })
  transports[`connect-web grpc-web ${codec}`] = forBrowsers.createGrpcWebTransport({ baseUrl, useBinaryFormat })
}

const failure = async (call) => {
  try { await call() } catch (error) { return ConnectError.from(error) }
  throw new Error('it succeeded')
}

for (const [name, transport] of Object.entries(transports)) {
  const client = createClient(service, transport)
  const said = { name }
  said.echo = (await client.echo({ data: new Uint8Array(5_000).fill(1) })).data.length
  const sizes = []
  for await (const { data } of client.count({ data: bytes('5 3000') })) sizes.push(data.length)
  said.count = sizes
  const seen = await client.headers({}, {
    headers: { text: 'a', 'raw-bin': 'AP8' },
    onHeader: (headers) => { said.initial = [headers.get('initial'), headers.get('initial-bin')] },
    onTrailer: (trailers) => { said.trailing = [trailers.get('trailing'), trailers.get('trailing-bin')] }
  })
  said.headers = JSON.parse(text(seen.data)).pairs.filter(([key]) => key === 'text' || key === 'raw-bin').sort()
  const aborted = await failure(() => client.abort({ data: bytes('NOT_FOUND\nkein Eintrag: ü 100%') }))
  said.abort = [aborted.code, aborted.rawMessage, aborted.metadata.get('reason')]
  const refused = await failure(() => client.echo({}, { headers: { 'x-bin': '!' } }))
  said.details = [refused.code, refused.details.map(({ type }) => type)]
  said.deadline = (await failure(() => client.hang({}, { timeoutMs: 200 }))).code
  const leaving = new AbortController()
  said.leave = (await failure(async () => {
    for await (const _ of client.hangAfter({}, { signal: leaving.signal })) leaving.abort()
  })).code
  said.sum = (await failure(() => client.sum((async function * () { yield {} })()))).code
  console.log(JSON.stringify(said))
}
