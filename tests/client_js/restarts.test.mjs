// The client against a server that is full, is killed, drains, and begins again without its history.

import assert from 'node:assert/strict';
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

/** @type {TestServer} */
let server;
before(async () => {
  server = await TestServer.start({ WELLNET_BROKER_URL: 'memory://', WELLNET_STREAMS_PER_USER: '1' });
});
after(() => server.end());

/** A client on each transport, live, that watches everything of its user. */
async function onBoth(t) {
  const clients = [{}, { EventSource: undefined }].map((environment) => {
    const userId = newUser();
    const client = newClient(t, server, { userId, environment });
    return { userId, client, seen: record(client.watchAll()) };
  });
  await Promise.all(clients.map(({ client }) => connectionIs(client, isLive)));
  return clients;
}

const told = (seen) => seen.map(({ event, data }) => [event, data.operation_id, data.outcome].filter(Boolean).join(' '));

test('a full house is waited out, for as long as the server asks', async (t) => {
  const userId = newUser();
  const abort = new AbortController();
  await fetch(`${server.url}/sse/progress?userId=${userId}`, { signal: abort.signal });
  const client = newClient(t, server, { userId });
  client.watchAll();
  const { retryAt, reason } = await connectionIs(client, ({ state }) => state === 'reconnecting');
  assert.equal(reason, 'busy');
  assert.ok(retryAt - Date.now() > 4500, 'Retry-After of 5 s is honoured');
  abort.abort();
  assert.equal((await connectionIs(client, isLive)).transport, 'sse', 'a 429 is no reason to switch');
});

test('a killed server: gap, then live; what it forgot is told as lost, never as done; what is run meanwhile is run once', async (t) => {
  const clients = await onBoth(t);
  const watches = [];
  for (const { userId, client, seen } of clients) {
    await server.publish(userId, 'op', 'a', 'in_progress', 10);
    await eventually(() => seen.length === 2);
    watches.push(client.watch('op'));
  }
  await server.stop('SIGKILL');
  for (const { client } of clients) {
    await connectionIs(client, ({ state }) => state === 'reconnecting');
    assert.equal(client.operation('op').outcome, null, 'EOF is no ending');
  }
  const late = newClient(t, server);
  const removal = late.run('/api/conexiones/eliminar', { id_conexion: 5 });
  await connectionIs(late, ({ state }) => state === 'reconnecting');

  await server.start();
  for (const watch of watches) assert.equal((await watch.ended).outcome, 'lost');
  assert.equal((await removal).outcome, 'completed');
  assert.equal(late.operation(removal.operationId).steps.length, 3);
  for (const { userId, client, seen } of clients) {
    await connectionIs(client, isLive);
    const cursor = await server.publish(userId, 'op', 'b', 'in_progress', 20);
    await eventually(() => seen.at(-1).id === cursor);
    const expected = ['live', 'progress op', 'gap', 'live', 'operation op lost', 'progress op'];
    assert.deepEqual(told(seen), expected);
    assert.equal(client.operation('op').outcome, null, 'it was begun anew');
  }
});

test('a draining server says so, and is found again', async (t) => {
  const clients = await onBoth(t);
  const drained = clients.map(({ client }) => connectionIs(client, ({ reason }) => reason === 'drain'));
  await server.stop('SIGTERM');
  await Promise.all(drained);
  await server.start();
  for (const { userId, client, seen } of clients) {
    await connectionIs(client, isLive);
    const cursor = await server.publish(userId, 'op', 'a', 'in_progress', 20);
    await eventually(() => seen.at(-1).id === cursor);
    assert.deepEqual(told(seen), ['live', 'gap', 'live', 'progress op']);
  }
});

test('a killed server that keeps history: the work was interrupted, and the same id is its next attempt', async (t) => {
  const durable = await TestServer.start({ WELLNET_DEMO_PACE_SECONDS: '3' });
  t.after(() => durable.end());
  const client = newClient(t, durable);
  const first = client.run('/api/conexiones/eliminar', { id_conexion: 9 });
  const { operationId } = first;
  const seen = record(first.watch);
  await eventually(() => seen.some(({ data }) => data.status === 'in_progress'));
  await durable.stop('SIGKILL');
  durable.settings.WELLNET_DEMO_PACE_SECONDS = '0';
  await durable.start();
  assert.equal((await first).outcome, 'interrupted');
  const second = client.run('/api/conexiones/eliminar', { id_conexion: 9 }, { operationId });
  const then = record(second.watch);
  assert.equal((await second).outcome, 'completed');
  assertOnceAndInOrder([...seen, ...then]);
  assert.ok(![...seen, ...then].some(({ event }) => event === 'gap'));
});
