// Calls a Forebay gateway, step by step; each line of output is a JSON object.
//
//   node client.mjs HOST:PORT [STEP ...]

import { createHash, randomUUID } from 'node:crypto';
import { add, factorial, matMulOwn, matMulRandom } from './operations.mjs';
import { connect, describe, isStatus } from './service.mjs';

const LONG = 10_000_000; // a gateway's default limit of n: seconds of work
const TOO_LARGE = '20000000000';

const steps = {
  async add(client, print) {
    print(await add(client, 4, 6, within(30)));
  },

  // A caller's own id makes the call durable; a second call with the same id attaches to it.
  async 'add-durable'(client, print) {
    const callId = `node-${randomUUID()}`;
    print(await add(client, 4, 6, within(30), callId));
    print(await add(client, 4, 6, within(30), callId));
  },

  async factorial(client, print) {
    const { header, digits, metadata } = await factorial(client, 20000, within(60), print);
    const ends = [digits.slice(0, 12), digits.slice(-12)];
    print({ header, ends, sha256: sha256(digits), metadata });
  },

  async 'matmul-random'(client, print) {
    const product = await matMulRandom(client, 20, 20, '7', within(60), print);
    const { header, bytes, rows, metadata } = product;
    print({ header, first: rows[0][0], sha256: sha256(bytes), metadata });
  },

  async 'matmul-own'(client, print) {
    const [left, right] = [[[1, 2, 3], [4, 5, 6]], [[7, 8], [9, 10], [11, 12]]]; // prettier-ignore
    const { header, rows, metadata } = await matMulOwn(client, left, right, within(60), print);
    print({ header, rows, metadata });
  },

  async error(client, print) {
    await expectStatus(print, factorial(client, TOO_LARGE, within(30), print));
  },

  // The gateway stops the work when the caller cancels.
  async cancel(client, print) {
    const cancel = (progress, call) => {
      print(progress);
      call.cancel();
    };
    await expectStatus(print, factorial(client, LONG, within(60), cancel));
  },

  async deadline(client, print) {
    await expectStatus(print, factorial(client, LONG, within(0.5), print));
  },
};

function within(seconds) {
  return { deadline: Date.now() + seconds * 1000 };
}

function sha256(data) {
  return createHash('sha256').update(data).digest('hex');
}

async function expectStatus(print, call) {
  try {
    await call;
  } catch (error) {
    if (!isStatus(error)) throw error;
    print({ error: describe(error) });
    return;
  }
  throw new Error('the call succeeded; expected it to fail');
}

async function main([target, ...names]) {
  const unknown = names.filter((name) => !(name in steps));
  if (!target || unknown.length) {
    console.error(`usage: node client.mjs HOST:PORT [${Object.keys(steps).join('|')}] ...`);
    return 2;
  }
  const client = connect(target);
  try {
    for (const step of names.length ? names : Object.keys(steps)) {
      const print = (line) => console.log(JSON.stringify({ step, ...line }));
      await steps[step](client, print);
    }
    return 0;
  } catch (error) {
    if (!isStatus(error)) throw error;
    console.error(JSON.stringify(describe(error)));
    return 1;
  } finally {
    client.close();
  }
}

process.exitCode = await main(process.argv.slice(2));
