// The client against a server in identity mode `token`: tickets, and tokens that end while a stream is open.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';

import {
  TestServer,
  assertOnceAndInOrder,
  connectionIs,
  eventually,
  isLive,
  newClient,
  newUser,
  record,
} from './server.mjs';

const SECRET = 'a secret of at least thirty-two bytes';
const LEEWAY_SECONDS = 5;
const LIMIT = { timeout: 60_000 };

/** @type {TestServer} */
let server;
before(async () => {
  server = await TestServer.start({ WELLNET_AUTH: 'token', WELLNET_TOKEN_KEY: SECRET });
});
after(() => server.end());

/** A token of HS256 that the server takes for so many more seconds. */
function token(userId, seconds = 600) {
  const exp = Math.floor(Date.now() / 1000) - LEEWAY_SECONDS + seconds;
  const claims = { sub: String(userId), aud: 'wellnet-sse', scope: 'watch operate publish', exp };
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

async function publish(userId, message) {
  const body = { status: 'in_progress', message, progress: null };
  const headers = { Authorization: `Bearer ${token(userId)}` };
  const response = await server.post(`/api/operaciones/op/pasos/copy`, userId, body, headers);
  assert.equal(response.status, 201, await response.text());
}

for (const [name, own] of [
  ['SSE', {}],
  ['WebSocket v2', { EventSource: undefined }],
]) {
  test(`over ${name}, a watch outlives its tokens and misses nothing`, LIMIT, async (t) => {
    const userId = newUser();
    let asked = 0;
    const next = () => token(userId, (asked += 1) > 2 ? 600 : 3);
    const client = newClient(t, server, { userId, environment: own, token: next });
    const states = [];
    client.addEventListener('connection', ({ data }) => states.push(data.reason));
    const seen = record(client.watch('op', { untilEnd: false }));
    await connectionIs(client, isLive);
    for (let n = 0; asked < 3; n += 1) {
      await publish(userId, `${n}`);
      await eventually(() => seen.some(({ data }) => data.message === `${n}`));
    }
    await connectionIs(client, isLive);
    await publish(userId, 'last');
    await eventually(() => seen.some(({ data }) => data.message === 'last'));
    assertOnceAndInOrder(seen);
    assert.equal(seen.filter(({ event }) => event === 'gap').length, 0);
    assert.ok(states.includes('expired'));
  });
}

test('run and its POSTs say who asks', LIMIT, async (t) => {
  const userId = newUser();
  const client = newClient(t, server, { userId, token: async () => token(userId) });
  const { outcome } = await client.run('/api/conexiones/eliminar', { id_conexion: 4 });
  assert.equal(outcome, 'completed');
});

test('a token of somebody else ends in `refused`', LIMIT, async (t) => {
  const client = newClient(t, server, { token: token(newUser()) });
  client.watchAll();
  const { state } = await connectionIs(client, ({ reason }) => reason === 'refused');
  assert.equal(state, 'closed');
});
