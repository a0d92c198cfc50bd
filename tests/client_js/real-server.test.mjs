// The client against the real server, over undici's EventSource and npm's ws.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ProgressError } from '../../wellnet_sse/static/progress-client.js';
import {
  TestServer,
  UndiciEventSource,
  assertOnceAndInOrder,
  connectionIs,
  eventually,
  isLive,
  newClient,
  newUser,
  record,
} from './server.mjs';

const STEPS = ['remove-service', 'remove-router', 'remove-config'];
const REMOVE = '/api/conexiones/eliminar';
const LIMIT = { timeout: 60_000 };

/** @type {TestServer} */
let server;
before(async () => {
  server = await TestServer.shared();
});
after(() => server.end());

for (const [name, own] of [
  ['SSE', {}],
  ['WebSocket v2', { EventSource: undefined }],
]) {
  describe(`over ${name}`, LIMIT, () => {
    test('run follows an operation to its end and tells each event once', async (t) => {
      const client = newClient(t, server, { environment: own });
      const removal = client.run(REMOVE, { id_conexion: 1 });
      const seen = record(removal.watch);
      const { outcome, progress } = await removal;
      assert.match(removal.operationId, /^conexiones-eliminar-\d{13}-[0-9a-z]{9}$/);
      assert.deepEqual({ outcome, progress }, { outcome: 'completed', progress: 100 });
      assertOnceAndInOrder(seen);
      const done = seen.filter(({ data }) => data.status === 'completed').map(({ data }) => data.step);
      assert.deepEqual(done, STEPS);
      assert.equal(seen.at(-1).event, 'end');
      assert.equal(client.operation(removal.operationId).outcome, 'completed');
      assert.equal(client.connection.state, 'closed', 'nothing is watched any more');
    });

    test('an iterator gives the same and ends with the operation', async (t) => {
      const client = newClient(t, server, { environment: own });
      const removal = client.run(REMOVE, { id_conexion: 2 });
      const events = [];
      for await (const { event, data } of removal.watch) if (event === 'progress') events.push(data.step);
      assert.deepEqual([...new Set(events)].sort(), [...STEPS].sort());
      assert.equal((await removal).outcome, 'completed');
    });

    test('a watch joins in the middle with the state, then hears the rest', async (t) => {
      const userId = newUser();
      await server.publish(userId, 'op', 'a', 'in_progress', 10);
      await server.publish(userId, 'op', 'a', 'in_progress', 40);
      const client = newClient(t, server, { userId, environment: own });
      const seen = record(client.watch('op'));
      await connectionIs(client, isLive);
      await server.publish(userId, 'op', 'a', 'completed');
      await server.post('/api/operaciones/op/detener', userId);
      await eventually(() => client.connection.state === 'closed');
      assert.deepEqual(
        seen.map(({ event, data }) => data.progress ?? event),
        [40, 'live', 100, 'end'],
      );
      assert.equal(seen.at(-1).data.outcome, 'completed');
    });

  });
}

test('SSE that is blocked gives way to the WebSocket, with the same cursor', LIMIT, async (t) => {
  const userId = newUser();
  let isBlocked = false;
  class Blockable extends UndiciEventSource {
    constructor(url, options) {
      super(isBlocked ? `${server.url}/404` : url, options);
    }
  }
  const blocking = (address, options) =>
    String(address).includes('/sse/') && isBlocked ? Response.json({}, { status: 403 }) : fetch(address, options);
  const client = newClient(t, server, { userId, environment: { EventSource: Blockable, fetch: blocking } });
  const seen = record(client.watchAll());
  assert.equal((await connectionIs(client, isLive)).transport, 'sse');
  await server.publish(userId, 'op', 'a', 'in_progress', 10);
  await eventually(() => seen.length === 2);
  isBlocked = true;
  const onSocket = connectionIs(client, ({ transport }) => transport === 'websocket');
  client.reconnect();
  await server.publish(userId, 'op', 'a', 'in_progress', 20);
  await onSocket;
  await server.publish(userId, 'op', 'a', 'in_progress', 30);
  await eventually(() => seen.at(-1).data.progress === 30);
  assertOnceAndInOrder(seen);
  assert.deepEqual(seen.filter(({ event }) => event === 'gap'), []);
  assert.deepEqual(seen.map(({ data }) => data.progress).filter(Boolean), [10, 20, 30]);
});

test('an answer that got lost does not make the work run again', LIMIT, async (t) => {
  let posts = 0;
  const loses = async (address, options) => {
    const response = await fetch(address, options);
    if (options?.method !== 'POST' || !String(address).endsWith('eliminar')) return response;
    posts += 1;
    throw new TypeError('network error');
  };
  const client = newClient(t, server, { environment: { fetch: loses } });
  assert.equal((await client.run(REMOVE, { id_conexion: 6 })).outcome, 'completed');
  assert.equal(posts, 1);
});

test('a run that failed resolves with `failed`; the same id again is the next attempt', LIMIT, async (t) => {
  const userId = newUser();
  const client = newClient(t, server, { userId });
  const operationId = client.newOperationId('remove-config');
  const first = client.run(REMOVE, { id_conexion: 999 }, { operationId });
  assert.equal((await first).outcome, 'failed');
  assert.equal(client.operation(operationId).steps[0].status, 'error');
  const second = client.run(REMOVE, { id_conexion: 7 }, { operationId });
  const seen = record(second.watch);
  assert.equal((await second).outcome, 'completed');
  assert.equal(seen.filter(({ event }) => event === 'end').length, 1);
  const third = await client.run(REMOVE, { id_conexion: 7 }, { operationId });
  assert.equal(third.outcome, 'completed', 'a replay resolves with the ending that there was');
  const elsewhere = newClient(t, server, { userId });
  const again = await elsewhere.run(REMOVE, { id_conexion: 7 }, { operationId });
  assert.equal(again.outcome, 'completed', 'also where that ending was never seen');
});

test('a refused run rejects with the server’s own sentence', LIMIT, async (t) => {
  const client = newClient(t, server);
  await assert.rejects(client.run(REMOVE, { id_conexion: 'tres' }), (error) => {
    assert.ok(error instanceof ProgressError);
    assert.equal(error.status, 422);
    assert.match(error.message, /id_conexion/);
    return true;
  });
  assert.equal(client.connection.state, 'closed');
});

test('an aborted run stops following; the work goes on', LIMIT, async (t) => {
  const userId = newUser();
  const client = newClient(t, server, { userId });
  const abort = new AbortController();
  const removal = client.run(REMOVE, { id_conexion: 8 }, { signal: abort.signal });
  removal.watch.addEventListener('progress', () => abort.abort());
  await assert.rejects(removal, { name: 'AbortError' });
  const path = `/api/operaciones/${removal.operationId}?userId=${userId}`;
  await eventually(async () => (await server.get(path)).outcome === 'completed');
});

test('cancel ends an operation as cancelled', LIMIT, async (t) => {
  const client = newClient(t, server);
  const operationId = client.newOperationId();
  await client.begin(operationId, ['a', 'b']);
  const watch = client.watch(operationId);
  await client.cancel(operationId);
  assert.equal((await watch.ended).outcome, 'cancelled');
});

test('the three documented POSTs make one operation', LIMIT, async (t) => {
  const client = newClient(t, server);
  const operationId = client.newOperationId('remove-config');
  await client.begin(operationId, STEPS);
  const watch = client.watch(operationId);
  const seen = record(watch);
  const answers = [
    await client.post('/api/conexiones/quitar-asignacion', { id_conexion: 10 }, { operationId }),
    await client.post('/api/routers/quitar-conexion', { direccion_ip: '10.0.0.10' }, { operationId }),
    await client.post('/api/configuracion/eliminar', { id_conexion: 10, id_usuario: 1 }, { operationId }),
  ];
  assert.deepEqual(
    answers.map(({ success, message }) => [success, message]),
    [
      [true, 'Asignación eliminada'],
      [true, 'Conexión eliminada'],
      [true, 'Configuración eliminada'],
    ],
  );
  assert.equal((await watch.ended).outcome, 'completed');
  assertOnceAndInOrder(seen);
});

test('a watch of an operation that had ended before tells its steps and its end', LIMIT, async (t) => {
  const userId = newUser();
  await server.publish(userId, 'old', 'a', 'completed');
  await server.post('/api/operaciones/old/detener', userId);
  const client = newClient(t, server, { userId });
  const watch = client.watch('old');
  const seen = record(watch);
  assert.equal((await watch.ended).outcome, 'completed');
  assert.deepEqual(seen.map(({ event }) => event).sort(), ['end', 'live', 'progress']);
});

test('a watch of an operation that does not exist yet waits for it', LIMIT, async (t) => {
  const userId = newUser();
  const client = newClient(t, server, { userId });
  const watch = client.watch('later');
  await connectionIs(client, isLive);
  await server.publish(userId, 'later', 'a', 'error', 0, 'Error: nada');
  await server.post('/api/operaciones/later/detener', userId);
  assert.equal((await watch.ended).outcome, 'failed');
});

test('a user that the server does not take is not tried for ever', LIMIT, async (t) => {
  for (const own of [{}, { EventSource: undefined }]) {
    const client = newClient(t, server, { userId: 'nobody', environment: own });
    client.watchAll();
    const { reason } = await connectionIs(client, ({ state, reason }) => state === 'closed' && reason !== null);
    assert.equal(reason, 'refused');
  }
});
