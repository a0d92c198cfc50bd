// Several tabs of one browser: they share node's BroadcastChannel and pretended Web Locks.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ProgressClient } from '../../wellnet_sse/static/progress-client.js';
import { Clock, FakeLocks, FakeWindow, fakeSources, settled } from './fakes.mjs';
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

const ids = (seen) => seen.filter(({ event }) => event === 'progress').map(({ id }) => id);

describe('tabs of one browser, on the real server', { timeout: 60_000 }, () => {
  /** @type {TestServer} */
  let server;
  before(async () => {
    server = await TestServer.shared();
  });
  after(() => server.end());

  /** Makes tabs of a new browser and user. */
  function browser(t) {
    const locks = new FakeLocks();
    const userId = newUser();
    const streams = [];
    class EventSource extends UndiciEventSource {
      constructor(url, options) {
        super(url, options);
        streams.push(this);
      }
    }
    const open = (own = {}) => {
      const lock = locks.tab();
      let isDead = false;
      // What a dead tab's connection would still say, nobody hears.
      class Channel extends BroadcastChannel {
        postMessage(message) {
          if (!isDead) super.postMessage(message);
        }
      }
      const environment = { locks: lock, BroadcastChannel: Channel, EventSource, ...own };
      const client = newClient(t, server, { userId, environment });
      return {
        client,
        seen: record(client.watchAll()),
        lock,
        crash() {
          isDead = true;
          lock.die();
        },
      };
    };
    return { userId, open, locks, connections: () => streams.filter(({ readyState }) => readyState === 1).length };
  }

  test('six of them have one connection, and each is told everything once', async (t) => {
    const { userId, open, connections } = browser(t);
    const tabs = Array.from({ length: 6 }, () => open());
    await Promise.all(tabs.map(({ client }) => connectionIs(client, isLive)));
    const cursors = [];
    for (let n = 1; n <= 5; n += 1) cursors.push(await server.publish(userId, 'op', 'a', 'in_progress', n));
    for (const { seen } of tabs) {
      await eventually(() => ids(seen).length >= 5);
      assert.deepEqual(ids(seen), cursors);
    }
    assert.equal(connections(), 1);
  });

  test('a new one gets the state, of the latest ended operations as well', async (t) => {
    const { userId, open } = browser(t);
    const first = open();
    await connectionIs(first.client, isLive);
    const cursor = await server.publish(userId, 'runs', 'a', 'in_progress', 40);
    await server.publish(userId, 'done', 'a', 'completed');
    await server.post('/api/operaciones/done/detener', userId);
    await eventually(() => first.client.operation('done')?.outcome);
    const second = open();
    await connectionIs(second.client, isLive);
    await eventually(() => ids(second.seen).includes(cursor));
    assert.equal(second.client.operation('done').outcome, 'completed');
    assert.equal((await second.client.watch('done').ended).outcome, 'completed');
  });

  test('when the one that leads dies, another goes on from the shared cursor', async (t) => {
    const { userId, open, locks } = browser(t);
    const tabs = [open(), open(), open()];
    await Promise.all(tabs.map(({ client }) => connectionIs(client, isLive)));
    const [leader, ...others] = tabs.sort((a) => (locks.holder(locks.names[0]) === a.lock ? -1 : 1));
    const cursors = [await server.publish(userId, 'op', 'a', 'in_progress', 1)];
    for (const { seen } of others) await eventually(() => ids(seen).length === 1);
    leader.crash();
    for (let n = 2; n <= 4; n += 1) cursors.push(await server.publish(userId, 'op', 'a', 'in_progress', n));
    for (const { seen, client } of others) {
      await eventually(() => ids(seen).length >= 4);
      assert.deepEqual(ids(seen), cursors);
      assertOnceAndInOrder(seen);
      assert.deepEqual(seen.filter(({ event }) => event === 'gap'), []);
      await connectionIs(client, isLive);
    }
    assert.ok(others.some(({ lock }) => locks.holder(locks.names[0]) === lock));
  });

  test('when the one that leads watches no more, another leads; nothing is lost between', async (t) => {
    const { userId, open } = browser(t);
    const [first, second] = [open(), open()];
    await Promise.all([first, second].map(({ client }) => connectionIs(client, isLive)));
    first.client.close();
    const cursor = await server.publish(userId, 'op', 'a', 'in_progress', 1);
    await eventually(() => ids(second.seen).includes(cursor));
    assert.equal(first.client.connection.state, 'closed');
    assert.notEqual(second.client.connection.state, 'closed');
  });

  test('an operation started in one is followed in another', async (t) => {
    const { open } = browser(t);
    const [first, second] = [open(), open()];
    await Promise.all([first, second].map(({ client }) => connectionIs(client, isLive)));
    const removal = second.client.run('/api/conexiones/eliminar', { id_conexion: 20 });
    const elsewhere = first.client.watch(removal.operationId);
    assert.deepEqual(await elsewhere.ended, await removal);
    assert.deepEqual(
      first.client.operation(removal.operationId),
      second.client.operation(removal.operationId),
    );
  });

  test('without Web Locks or BroadcastChannel each has its own', async (t) => {
    const { open, connections } = browser(t);
    t.mock.method(console, 'warn', () => {});
    const opaque = { request: () => Promise.reject(new DOMException('opaque origin', 'SecurityError')) };
    for (const own of [{ BroadcastChannel: undefined }, { locks: undefined }, { locks: opaque }]) {
      await connectionIs(open(own).client, isLive);
    }
    assert.equal(connections(), 3);
  });
});

describe('a tab that leads', () => {
  function tabs(t, userId) {
    const locks = new FakeLocks();
    return {
      locks,
      open({ isFrozen = () => false } = {}) {
        class Channel extends BroadcastChannel {
          postMessage(message) {
            if (!isFrozen()) super.postMessage(message);
          }
        }
        const [clock, EventSource, window, lock] = [new Clock(), fakeSources(), new FakeWindow(), locks.tab()];
        const client = new ProgressClient({
          userId,
          baseUrl: 'http://localhost',
          environment: {
            ...clock.environment,
            EventSource,
            window,
            locks: lock,
            BroadcastChannel: Channel,
            fetch: async () => new Response('', { status: 401 }),
          },
        });
        t.after(() => client.close());
        return { client, clock, EventSource, window, lock, seen: record(client.watchAll()) };
      },
    };
  }

  test('but is frozen is replaced, and follows when it thaws', async (t) => {
    const { open } = tabs(t, newUser());
    let isFrozen = true;
    const frozen = open({ isFrozen: () => isFrozen });
    await eventually(() => frozen.EventSource.last);
    frozen.EventSource.last.say('live', 'a-1');
    const [second, third] = [open(), open()];
    await third.clock.pass(2999);
    assert.equal(third.EventSource.last, undefined);
    await third.clock.pass(1);
    isFrozen = false;
    await eventually(() => third.EventSource.last && frozen.EventSource.last.isClosed);
    third.EventSource.last.say('message', 'a-2', { operation_id: 'op', step: 's', status: 'error', progress: 0 });
    third.EventSource.last.say('live', 'a-2');
    await eventually(() => frozen.client.connection.state === 'live');
    for (const { seen } of [frozen, second]) await eventually(() => ids(seen).includes('a-2'));
    assert.equal(frozen.EventSource.opened.length, 1);
  });

  test('but is held by a dialog is replaced before long, by a tab that nobody has touched', async (t) => {
    const { open } = tabs(t, newUser());
    let isHeld = false;
    const held = open({ isFrozen: () => isHeld });
    await eventually(() => held.EventSource.last);
    held.EventSource.last.say('live', 'a-1');
    const [second, hidden] = [open(), open()];
    for (const { client } of [second, hidden]) await eventually(() => client.connection.state === 'live');
    hidden.window.document.visibilityState = 'hidden';
    for (const { clock } of [second, hidden]) await clock.pass(8000);
    await eventually(() => second.clock.timers.size === 1, 'it was answered');
    isHeld = true;
    for (const { clock } of [second, hidden]) await clock.pass(8000 + 3000);
    await eventually(() => second.EventSource.last);
    assert.equal(second.EventSource.last.cursor, 'a-1');
    assert.equal(hidden.EventSource.last, undefined);
  });

  test('tells the others how the connection is, also that it is refused, and tries again for them', async (t) => {
    const { open } = tabs(t, newUser());
    const first = open();
    await eventually(() => first.EventSource.last);
    const [second, third] = [open(), open()];
    first.EventSource.last.giveUp();
    await eventually(() => [second, third].every(({ client }) => client.connection.reason === 'refused'));
    second.client.reconnect();
    await eventually(() => first.EventSource.opened.length === 2);
    first.EventSource.last.say('live', 'a-1');
    await eventually(() => third.client.connection.state === 'live');
    assert.equal(first.EventSource.opened.length, 2, 'it was asked once');
    first.window.say('offline');
    await eventually(() => second.client.connection.state === 'offline');
  });

  test('heeds no other', async (t) => {
    const { open, locks } = tabs(t, newUser());
    const { client, EventSource } = open();
    await eventually(() => EventSource.last);
    EventSource.last.say('live', 'a-1');
    const rogue = new BroadcastChannel(locks.names[0]);
    t.after(() => rogue.close());
    const answered = new Promise((resolve) => (rogue.onmessage = resolve));
    const snapshot = { cursor: 'a-9', messages: [] };
    rogue.postMessage({ type: 'state', snapshot, status: { state: 'closed' } });
    rogue.postMessage({ type: 'hello' });
    await answered; // so it has heard the other as well
    assert.equal(client.connection.state, 'live');
  });
});

test('a new tab heeds nothing before it has the state', async (t) => {
  const userId = newUser();
  const locks = new FakeLocks();
  const name = `wellnet-progress http://localhost/ ${userId}`;
  locks.tab().request(name, {}, () => new Promise(() => {}));
  const leader = new BroadcastChannel(name);
  t.after(() => leader.close());
  const greeted = new Promise((resolve) => (leader.onmessage = resolve));
  const environment = { ...new Clock().environment, locks: locks.tab(), BroadcastChannel };
  const client = new ProgressClient({ userId, baseUrl: 'http://localhost', environment });
  t.after(() => client.close());
  const seen = record(client.watchAll());
  await greeted;
  const step = (id, name) => ({ event: 'progress', id, data: { operation_id: 'op', step: name, progress: 1 } });
  leader.postMessage({ type: 'message', message: step('a-9', 'late') });
  const snapshot = { cursor: 'a-9', messages: [step('a-3', 'early'), step('a-9', 'late')] };
  leader.postMessage({ type: 'state', snapshot, status: { state: 'live', reason: null } });
  leader.postMessage({ type: 'message', message: step('a-10', 'next') });
  await eventually(() => ids(seen).length === 3);
  assert.deepEqual(ids(seen), ['a-3', 'a-9', 'a-10']);
  assert.equal(seen[2].event, 'live');
});
