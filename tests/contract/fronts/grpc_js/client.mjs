// Calls of a front's test handlers by grpc-js; prints a line of JSON for each.
import grpc from '@grpc/grpc-js'

const bytes = { requestSerialize: (b) => b, requestDeserialize: (b) => b, responseSerialize: (b) => b, responseDeserialize: (b) => b }
const method = (name, requestStream, responseStream) => ({ path: `/test.Service/${name}`, requestStream, responseStream, ...bytes })
const Client = grpc.makeClientConstructor({
  echo: method('Echo', false, false),
  abort: method('Abort', false, false),
  hang: method('Hang', false, false),
  headers: method('Headers', false, false),
  sum: method('Sum', true, false),
  count: method('Count', false, true),
  chat: method('Chat', true, true)
}, 'test.Service')
const client = new Client(process.argv[2], grpc.credentials.createInsecure())
const say = (step, value) => console.log(JSON.stringify({ step, value }))
const unary = (name, request, metadata = new grpc.Metadata(), options = {}) =>
  new Promise((resolve) => client[name](request, metadata, options, (error, reply) => resolve(error ?? reply)))
const collected = (stream) => new Promise((resolve, reject) => {
  const parts = []
  stream.on('data', (part) => parts.push(part.length)).on('end', () => resolve(parts)).on('error', reject)
})

say('echo', (await unary('echo', Buffer.alloc(3_000_000, 1))).length)
say('sum', await new Promise((resolve) => {
  const call = client.sum((error, reply) => resolve(error ? error.code : reply.toString()))
  for (let n = 0; n < 10; n++) call.write(Buffer.alloc(100_000))
  call.end()
}))
say('count', await collected(client.count(Buffer.from('5 100000'))))
const chat = client.chat()
const replies = collected(chat)
for (const size of [1, 20, 300]) chat.write(Buffer.alloc(size))
chat.end()
say('chat', await replies)
const metadata = new grpc.Metadata()
metadata.add('text', 'a')
metadata.add('text', 'b')
metadata.add('raw-bin', Buffer.from([0, 255]))
const seen = JSON.parse(await unary('headers', Buffer.alloc(0), metadata))
say('headers', seen.pairs.filter(([key]) => key === 'text' || key === 'raw-bin'))
const aborted = await unary('abort', Buffer.from('NOT_FOUND\nkein Eintrag: ü 100%'))
say('abort', [aborted.code, aborted.details, aborted.metadata.get('reason')])
say('deadline', (await unary('hang', Buffer.alloc(0), new grpc.Metadata(), { deadline: Date.now() + 300 })).code)
say('gzip', (await unary('echo', Buffer.alloc(100_000), new grpc.Metadata(), { 'grpc.default_compression_algorithm': 2 })).length)
client.close()
