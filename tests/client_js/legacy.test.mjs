// A client that knows nothing of ours: docs/examples/legacy-websocket.mjs, over npm's ws.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { conectar, eliminarConexion } from '../../docs/examples/legacy-websocket.mjs';
import { TestServer, eventually, newUser } from './server.mjs';

/** @type {TestServer} */
let server;
before(async () => {
  globalThis.WebSocket = WebSocket;
  server = await TestServer.shared();
});
after(() => server.end());

test('the documented WebSocket tells the documented numbers in the six documented fields', async () => {
  const userId = newUser();
  const operationId = 'remove-config-1721181234567-abc123xyz';
  const [updates, secondTab] = [[], []];
  const ws = await conectar(server.url, userId, (update) => updates.push(update));
  const other = await conectar(server.url, userId, (update) => secondTab.push(update));
  const connection = { id_conexion: 3, direccion_ip: '10.0.0.3', id_usuario: 3 };
  await eliminarConexion(ws, { base: server.url, userId, operationId, ...connection });
  await eventually(() => updates.length >= 10 && secondTab.length >= 10);
  const fields = ['operation_id', 'step', 'status', 'message', 'progress', 'timestamp'];
  for (const update of updates) assert.deepEqual(Object.keys(update), fields);
  assert.deepEqual(
    updates.map(({ step, status, progress }) => `${step} ${status} ${progress}`),
    [
      'remove-service in_progress 10',
      'remove-service in_progress 30',
      'remove-service in_progress 80',
      'remove-service completed 100',
      'remove-router in_progress 20',
      'remove-router in_progress 60',
      'remove-router completed 100',
      'remove-config in_progress 25',
      'remove-config in_progress 70',
      'remove-config completed 100',
    ],
  );
  assert.deepEqual(secondTab, updates);
  ws.close();
  other.close();
});
