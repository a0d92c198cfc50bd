// The life of the connection, with everything around it pretended: what no real server does on demand.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { ProgressClient } from '../../wellnet_sse/static/progress-client.js';
import { Clock, FakeWindow, fakeSources, settled } from './fakes.mjs';
import { record } from './server.mjs';

const progress = (step, value) => ({
  operation_id: 'op',
  step,
  status: 'in_progress',
  message: 'm',
  progress: value,
  timestamp: 't',
});

function page({ hasEventSource = true, hasWebSocket = true, fetch, token, timing } = {}) {
  const clock = new Clock();
  const [EventSource, WebSocket, window] = [fakeSources(), fakeSources(), new FakeWindow()];
  const client = new ProgressClient({
    userId: 7,
    baseUrl: 'https://wellnet-rd.com:444/progreso',
    token,
    timing,
    environment: {
      ...clock.environment,
      EventSource: hasEventSource ? EventSource : undefined,
      WebSocket: hasWebSocket ? WebSocket : undefined,
      BroadcastChannel: undefined,
      locks: undefined,
      window,
      fetch: fetch ?? (() => Promise.reject(new TypeError('no server'))),
    },
  });
  const states = [];
  client.addEventListener('connection', ({ data }) => states.push(data));
  return { client, clock, EventSource, WebSocket, window, states };
}

/** A page whose stream is live at `a-1`. */
async function livePage(options) {
  const at = page(options);
  const seen = record(at.client.watchAll());
  await settled();
  at.EventSource.last.open();
  at.EventSource.last.say('message', 'a-1', progress('s', 10));
  at.EventSource.last.say('live', 'a-1');
  return { ...at, seen };
}

const names = (states) => states.map(({ state, reason }) => (reason ? `${state}: ${reason}` : state));

test('it is connected while something is watched, and says how that is', async () => {
  const { client, EventSource, states } = page();
  assert.equal(client.connection.state, 'closed');
  const watch = client.watchAll();
  await settled();
  const source = EventSource.last;
  assert.equal(source.url.href, 'https://wellnet-rd.com:444/progreso/sse/progress?userId=7');
  assert.deepEqual(source.options, { withCredentials: true });
  source.open();
  assert.equal(client.connection.state, 'connecting', 'an open stream is not yet up to date');
  source.say('live', 'a-0');
  assert.equal(client.connection.transport, 'sse');
  watch.close();
  assert.ok(source.isClosed);
  assert.deepEqual(names(states), ['connecting', 'live', 'closed']);
});

test('a stream that breaks off is resumed from the cursor, and what comes again is dropped', async () => {
  const { clock, EventSource, seen, states, client } = await livePage();
  EventSource.last.breakOff();
  assert.ok(EventSource.last.isClosed, 'the native retry has no jitter');
  assert.deepEqual(client.connection, {
    state: 'reconnecting',
    reason: 'lost',
    transport: null,
    retryAt: clock.time + 1000,
  });
  await clock.pass(1000);
  assert.equal(EventSource.opened.length, 2);
  assert.equal(EventSource.last.cursor, 'a-1');
  EventSource.last.open();
  EventSource.last.say('message', 'a-1', progress('s', 10));
  EventSource.last.say('message', 'a-2', progress('s', 20));
  EventSource.last.say('live', 'a-2');
  assert.deepEqual(seen.map(({ id, event }) => `${event} ${id}`), ['progress a-1', 'live a-1', 'progress a-2', 'live a-2']);
  assert.deepEqual(names(states), ['connecting', 'live', 'reconnecting: lost', 'live']);
});

test('waits double with jitter up to their most, and begin anew after `live`', async () => {
  const { clock, EventSource, client } = await livePage({ hasWebSocket: false });
  const waits = [];
  for (let n = 0; n < 7; n += 1) {
    EventSource.last.breakOff();
    waits.push(client.connection.retryAt - clock.time);
    await clock.pass(waits.at(-1));
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  EventSource.last.say('live', 'a-1');
  clock.environment.random = () => 0;
  EventSource.last.breakOff();
  assert.equal(client.connection.retryAt - clock.time, 1000);
});

for (const reason of ['drain', 'slow', 'expired']) {
  test(`a stream that the server closes with \`${reason}\` is resumed; that is no ending`, async () => {
    const { clock, EventSource, seen, client } = await livePage();
    EventSource.last.say('end', null, { reason });
    assert.equal(client.connection.reason, reason);
    await clock.pass(1000);
    assert.equal(EventSource.last.cursor, 'a-1');
    assert.deepEqual(seen.map(({ event }) => event), ['progress', 'live']);
  });
}

test('a stream that was let go is heard no more', async () => {
  const { clock, EventSource, WebSocket, client, seen } = await livePage();
  const [first] = EventSource.opened;
  client.reconnect();
  await settled();
  EventSource.last.open();
  EventSource.last.say('live', 'a-1');
  first.say('message', 'a-2', progress('s', 99));
  first.breakOff();
  assert.deepEqual(seen.map(({ id }) => id), ['a-1', 'a-1', 'a-1']);
  assert.equal(client.connection.state, 'live');
  EventSource.last.breakOff();
  await clock.pass(1000);
  EventSource.last.breakOff();
  await clock.pass(2000);
  const [socket] = WebSocket.opened;
  socket.open();
  client.reconnect();
  await settled();
  socket.send2('progress', 'a-2', progress('s', 99));
  socket.hangUp(1006);
  assert.equal(client.connection.retryAt, clock.time, 'the new one is under way, not waited for');
  assert.equal(WebSocket.opened.length, 2);
  assert.equal(seen.length, 3);
});

test('a gap has no cursor of its own, whatever EventSource remembers', async () => {
  const { EventSource, seen } = await livePage();
  EventSource.last.say('gap', null, { requested: 'a-1', earliest: null, latest: 'b-3' });
  EventSource.last.say('message', 'b-3', progress('s', 10));
  assert.deepEqual(seen.slice(2).map(({ event, id }) => [event, id]), [
    ['gap', ''],
    ['progress', 'b-3'],
  ]);
});

describe('an EventSource that gave up', () => {
  const refusing = (status, headers = {}) => {
    const asked = [];
    const fetch = async (address, options) => {
      asked.push([new URL(address).pathname, options.headers.Accept]);
      return new Response('', { status, headers });
    };
    return { fetch, asked };
  };

  test('over 429 waits as the server asks, in seconds or until a date, and does not switch', async () => {
    for (const header of ['5', new Date(1_000_000 + 5000).toUTCString()]) {
      const { fetch, asked } = refusing(429, { 'Retry-After': header });
      const { clock, EventSource, WebSocket, client } = page({ fetch });
      client.watchAll();
      await settled();
      EventSource.last.giveUp();
      await settled();
      assert.deepEqual(asked, [['/progreso/sse/progress', 'text/event-stream']]);
      assert.equal(client.connection.reason, 'busy');
      assert.equal(client.connection.retryAt - clock.time, 5000 + 1000);
      await clock.pass(6000);
      assert.deepEqual([EventSource.opened.length, WebSocket.opened.length], [2, 0]);
    }
  });

  test('over 502 tries again with backoff', async () => {
    const { clock, EventSource, client } = page({ fetch: refusing(502).fetch });
    client.watchAll();
    await settled();
    EventSource.last.giveUp();
    await clock.pass(1000);
    assert.equal(EventSource.opened.length, 2);
  });

  test('over 403 may be a proxy: the WebSocket is next', async () => {
    const { clock, EventSource, WebSocket, client } = page({ fetch: refusing(403).fetch });
    client.watchAll();
    await settled();
    EventSource.last.giveUp();
    await clock.pass(1000);
    assert.equal(WebSocket.opened.length, 1);
  });

  test('over 204 tries again: all of a user’s operations never end', async () => {
    const { clock, EventSource, WebSocket, client } = page({ fetch: refusing(204).fetch });
    client.watchAll();
    await settled();
    EventSource.last.giveUp();
    await clock.pass(1000);
    assert.equal(EventSource.opened.length + WebSocket.opened.length, 2);
    assert.equal(client.connection.state, 'reconnecting');
  });

  test('over 401 is closed, until the page asks again', async () => {
    const { clock, EventSource, client } = page({ fetch: refusing(401).fetch });
    client.watchAll();
    await settled();
    EventSource.last.giveUp();
    await clock.pass(100_000);
    assert.deepEqual([client.connection.state, client.connection.reason], ['closed', 'refused']);
    assert.equal(EventSource.opened.length, 1);
    client.reconnect();
    await settled();
    assert.equal(EventSource.opened.length, 2);
    assert.equal(client.connection.state, 'connecting');
  });
});

describe('the other transport', () => {
  test('is tried when a stream cannot be opened, goes on from the cursor, and is left where it breaks', async () => {
    const { clock, EventSource, WebSocket, client, seen } = await livePage();
    EventSource.last.breakOff();
    await clock.pass(1000);
    EventSource.last.breakOff();
    await clock.pass(2000);
    const socket = WebSocket.last;
    assert.equal(socket.url.href, 'wss://wellnet-rd.com:444/progreso/ws/progress?userId=7&lastEventId=a-1');
    assert.equal(socket.options, 'wellnet.progress.v2');
    socket.open();
    socket.send2('progress', 'a-2', progress('s', 20));
    socket.send2('live', 'a-2');
    assert.equal(client.connection.transport, 'websocket');
    assert.equal(seen.at(-2).data.progress, 20);
    socket.send2('end', null, { reason: 'drain' });
    assert.equal(client.connection.reason, 'drain');
    await clock.pass(1000);
    assert.equal(EventSource.opened.length, 3, 'what was live first is tried first');
    EventSource.last.breakOff();
    await clock.pass(2000);
    assert.equal(WebSocket.opened.length, 2);
    WebSocket.last.hangUp(1006);
    await clock.pass(4000);
    assert.equal(EventSource.opened.length, 4, 'and back');
  });

  test('is kept where it alone ever worked', async () => {
    const { clock, EventSource, WebSocket, client } = page();
    client.watchAll();
    await settled();
    EventSource.last.breakOff();
    await clock.pass(1000);
    WebSocket.last.open();
    WebSocket.last.send2('live', 'a-1');
    WebSocket.last.hangUp(1012);
    await clock.pass(1000);
    assert.deepEqual([EventSource.opened.length, WebSocket.opened.length], [1, 2]);
  });

  test('is tried when a stream is open but silent: a proxy holds it back', async () => {
    const { clock, EventSource, WebSocket, client } = page();
    client.watchAll();
    await settled();
    EventSource.last.open();
    await clock.pass(10_000);
    assert.equal(client.connection.reason, 'silent');
    assert.ok(EventSource.last.isClosed);
    await clock.pass(1000);
    assert.equal(WebSocket.opened.length, 1);
  });

  test('is tried when a stream is cut off before it is live', async () => {
    const { clock, EventSource, WebSocket, client } = page();
    client.watchAll();
    await settled();
    EventSource.last.open();
    EventSource.last.breakOff();
    await clock.pass(1000);
    assert.equal(WebSocket.opened.length, 1);
  });

  test('a long replay is not silence', async () => {
    const { clock, EventSource, client } = page();
    client.watchAll();
    await settled();
    EventSource.last.open();
    for (let n = 1; n <= 5; n += 1) {
      await clock.pass(8000);
      EventSource.last.say('message', `a-${n}`, progress('s', n));
    }
    assert.equal(EventSource.opened.length, 1);
    assert.equal(client.connection.state, 'connecting');
  });

  test('slow sockets, gaps and endings come over v2 as over SSE', async () => {
    const { clock, WebSocket, client } = page({ hasEventSource: false });
    const seen = record(client.watch('op'));
    await settled();
    WebSocket.last.open();
    WebSocket.last.send2('gap', null, { requested: 'z', earliest: null, latest: 'a-1' });
    WebSocket.last.send2('progress', 'a-1', progress('s', 20));
    WebSocket.last.send2('live', 'a-1');
    WebSocket.last.send2('end', null, { reason: 'slow' });
    assert.equal(client.connection.reason, 'slow');
    WebSocket.last.hangUp(1013);
    await clock.pass(1000);
    WebSocket.last.send2('operation', 'a-2', { operation_id: 'op', outcome: 'failed', progress: 20, timestamp: 't' });
    assert.deepEqual(seen.map(({ event }) => event), ['gap', 'progress', 'live', 'end']);
  });
});

describe('a machine that', () => {
  test('loses its network says so, is tried all the same, and is back at once', async () => {
    const { clock, EventSource, window, client } = await livePage();
    window.say('offline');
    assert.ok(EventSource.last.isClosed);
    assert.deepEqual([client.connection.state, client.connection.reason], ['offline', 'offline']);
    await clock.pass(1000);
    EventSource.last.breakOff();
    assert.equal(client.connection.state, 'offline');
    window.say('online');
    assert.equal(client.connection.state, 'reconnecting');
    await settled();
    assert.equal(EventSource.opened.length, 3);
    assert.equal(EventSource.last.cursor, 'a-1');
    EventSource.last.say('live', 'a-1');
    assert.equal(client.connection.state, 'live');
    await clock.pass(60_000);
    assert.equal(EventSource.opened.length, 3, 'the old timer is gone');
  });

  test('is wrongly called offline is live all the same', async () => {
    const { clock, EventSource, window, client } = await livePage();
    window.say('offline');
    await clock.pass(1000);
    EventSource.last.say('live', 'a-1');
    assert.equal(client.connection.state, 'live');
    EventSource.last.breakOff();
    assert.equal(client.connection.state, 'reconnecting');
  });

  test('slept opens its stream anew, and is not live before that is', async () => {
    const { clock, EventSource, states } = await livePage();
    const [old] = EventSource.opened;
    await clock.sleep(600_000);
    assert.ok(old.isClosed);
    assert.equal(EventSource.last.cursor, 'a-1');
    assert.deepEqual(states.at(-1), { state: 'reconnecting', reason: null, transport: null, retryAt: null });
    EventSource.last.say('live', 'a-1');
    assert.deepEqual(names(states), ['connecting', 'live', 'reconnecting', 'live']);
  });

  test('is looked at again opens anew only where it slept', async () => {
    const { clock, EventSource, window } = await livePage();
    window.document.dispatchEvent(new Event('visibilitychange'));
    await clock.pass(0);
    assert.equal(EventSource.opened.length, 1);
    clock.time += 100_000;
    window.document.dispatchEvent(new Event('visibilitychange'));
    await clock.pass(0);
    assert.equal(EventSource.opened.length, 2);
  });
});

test('a live stream that is silent while something runs is opened anew', async () => {
  const { clock, EventSource } = await livePage();
  await clock.pass(60_000);
  EventSource.last.say('message', 'a-2', progress('s', 20));
  await clock.pass(85_000);
  assert.equal(EventSource.opened.length, 1);
  await clock.pass(15_000);
  assert.equal(EventSource.opened.length, 2);
  const end = { operation_id: 'op', outcome: 'completed', progress: 100, timestamp: 't' };
  EventSource.last.say('operation', 'a-3', end);
  EventSource.last.say('live', 'a-3');
  await clock.pass(800_000);
  assert.equal(EventSource.opened.length, 2, 'with nothing to wait for, silence is peace');
});

test('with a token each stream has a ticket of its own, and the token stays out of addresses', async () => {
  const asked = [];
  let tickets = 0;
  const fetch = async (address, { headers, method }) => {
    asked.push([method, new URL(address).pathname, headers.Authorization]);
    return Response.json({ ticket: `t${(tickets += 1)}` });
  };
  const { clock, client, EventSource } = page({ fetch, token: async () => 'secret' });
  client.watchAll();
  await settled();
  assert.equal(EventSource.last.url.searchParams.get('ticket'), 't1');
  assert.deepEqual(asked, [['POST', '/progreso/api/tickets', 'Bearer secret']]);
  EventSource.last.open();
  EventSource.last.say('live', 'a-0');
  EventSource.last.breakOff();
  await clock.pass(1000);
  assert.equal(EventSource.last.url.searchParams.get('ticket'), 't2');
  assert.ok(!EventSource.last.url.href.includes('secret'));
});

test('a stream that ended with its token is opened again with the next one', async () => {
  const given = ['first', 'second'];
  const fetch = async (_address, { headers }) => Response.json({ ticket: headers.Authorization.slice(7) });
  const { clock, client, EventSource } = page({ fetch, token: () => given.shift() });
  client.watchAll();
  await settled();
  EventSource.last.open();
  EventSource.last.say('live', 'a-0');
  EventSource.last.say('end', null, { reason: 'expired' });
  await clock.pass(1000);
  assert.equal(EventSource.opened.length, 2);
  assert.equal(EventSource.last.url.searchParams.get('ticket'), 'second');
});

for (const [status, code, expected] of [
  [401, 'invalid_token', 'closed: refused'],
  [403, 'insufficient_scope', 'closed: refused'],
  [403, null, 'reconnecting: refused'],
  [429, 'too_many_streams', 'reconnecting: busy'],
  [503, 'unavailable', 'reconnecting: busy'],
]) {
  test(`a ticket that is refused with ${status} ${code} leaves it ${expected}`, async () => {
    const fetch = async () => Response.json({ code, detail: 'no' }, { status });
    const { client, clock, EventSource, WebSocket, states } = page({ fetch, token: 'secret' });
    client.watchAll();
    await settled();
    assert.deepEqual(names(states), ['connecting', expected]);
    await clock.pass(60_000);
    assert.equal(EventSource.opened.length + WebSocket.opened.length, 0);
    assert.equal(client.connection.state === 'closed', expected === 'closed: refused');
  });
}

test('the token goes to no other host', async () => {
  const asked = [];
  const fetch = async (address, { headers }) => {
    asked.push(headers);
    return Response.json({ success: true });
  };
  const { client } = page({ fetch, token: 'secret' });
  await client.post('https://elsewhere.example/api', {});
  assert.equal(asked[0].Authorization, undefined);
});

test('a run that is refused for now is posted again, after what Retry-After says', async () => {
  const answers = [new Response('', { status: 503, headers: { 'Retry-After': '3' } }), Response.json({ success: true })];
  const posts = [];
  const fetch = async (_address, { headers }) => {
    posts.push(headers);
    return answers.shift();
  };
  const { clock, client, EventSource } = page({ fetch });
  const run = client.run('/api/conexiones/quitar-asignacion', { id_conexion: 3 });
  await settled();
  await clock.pass(3999);
  assert.equal(posts.length, 1);
  await clock.pass(1);
  assert.deepEqual(posts[1], {
    'Content-Type': 'application/json',
    'X-User-ID': '7',
    'X-Operation-ID': run.operationId,
    Prefer: 'respond-async',
  });
  assert.match(run.operationId, /^conexiones-quitar-asignacion-\d+-[0-9a-z]{9}$/);
  EventSource.last.say('operation', 'a-1', { operation_id: run.operationId, outcome: 'completed', progress: 100 });
  assert.equal((await run).outcome, 'completed');
});

/** A server that knows of one operation, at `cursor`; `post` answers POSTs. */
const serverWith = ({ cursor, outcome = 'failed' }, post) => {
  const described = { operation_id: 'op', steps: [], cursor, outcome, progress: 0, finished_at: 'f' };
  return async (_address, { method = 'GET' }) => (method === 'GET' ? Response.json(described) : post(described));
};

test('an order that is lost is not taken for what the same id was before', async () => {
  let posts = 0;
  const fetch = serverWith({ cursor: 'a-5' }, async () => {
    posts += 1;
    if (posts === 1) throw new TypeError('lost');
    return Response.json({ success: true }, { status: 202 });
  });
  const { clock, client, EventSource } = page({ fetch });
  const run = client.run('/api/x', {}, { operationId: 'op' });
  await settled();
  EventSource.last.say('live', 'a-9');
  await clock.pass(60_000);
  assert.equal(posts, 2);
  EventSource.last.say('message', 'a-10', progress('s', 10));
  EventSource.last.say('operation', 'a-11', { operation_id: 'op', outcome: 'completed', progress: 100 });
  assert.equal((await run).outcome, 'completed');
});

test('an order whose answer is lost is not given twice', async () => {
  let posts = 0;
  const fetch = serverWith({ cursor: 'a-5' }, async (described) => {
    posts += 1;
    Object.assign(described, { cursor: 'a-8', outcome: 'completed' });
    throw new TypeError('lost');
  });
  const { clock, client, EventSource } = page({ fetch });
  const run = client.run('/api/x', {}, { operationId: 'op' });
  await settled();
  EventSource.last.say('live', 'a-9');
  await clock.pass(60_000);
  assert.equal((await run).outcome, 'completed');
  assert.equal(posts, 1);
});

test('what is over before its order is answered, and before the stream was there, has its ending', async () => {
  let answer;
  const answered = new Promise((resolve) => (answer = resolve));
  const fetch = serverWith({ cursor: 'a-5', outcome: 'completed' }, (described) => {
    described.operation_id = run.operationId;
    return answered;
  });
  const { client, EventSource } = page({ fetch });
  const run = client.run('/api/x', {}, { operationId: client.newOperationId() });
  await settled();
  EventSource.last.say('live', 'a-9');
  answer(Response.json({ success: true }, { status: 202 }));
  await settled();
  client.close(); // else it would wait for ever
  assert.equal((await run).outcome, 'completed');
});

test('a client that is closed ends what waits for it', async () => {
  const { client } = page({ fetch: async () => Response.json({ success: true }, { status: 202 }) });
  const watch = client.watch('op');
  const iterated = (async () => {
    for await (const _ of watch) assert.fail('nothing came');
  })();
  const run = client.run('/api/x', {});
  await settled();
  client.close();
  await assert.rejects(run, { code: 'closed' });
  assert.equal(await watch.ended, null);
  await iterated;
});

test('leaving a loop closes its watch, and with the last one the connection', async () => {
  const { client, EventSource } = page();
  const loop = (async () => {
    for await (const { event } of client.watchAll()) if (event === 'live') break;
  })();
  await settled();
  EventSource.last.say('live', 'a-0');
  await loop;
  assert.ok(EventSource.last.isClosed);
  assert.equal(client.connection.state, 'closed');
});

test('a later watch gets the state first, then `live`, then what comes', async () => {
  const { client, EventSource } = await livePage();
  const seen = record(client.watch('op'));
  await settled();
  EventSource.last.say('message', 'a-2', progress('s', 20));
  assert.deepEqual(seen.map(({ event, id }) => `${event} ${id}`), ['progress a-1', 'live a-1', 'progress a-2']);
  assert.equal(EventSource.opened.length, 1);
});

test('a watch that begins while the stream is cut off gets the state, and `live` when it is', async () => {
  const { clock, client, EventSource } = await livePage();
  EventSource.last.breakOff();
  const seen = record(client.watch('op'));
  await clock.pass(1000);
  assert.deepEqual(seen.map(({ event }) => event), ['progress']);
  EventSource.last.say('live', 'a-1');
  assert.deepEqual(seen.map(({ event }) => event), ['progress', 'live']);
});

test('an operation that is about to begin is not asked for', async () => {
  const asked = [];
  const fetch = (address, { method = 'GET' }) => {
    asked.push(`${method} ${new URL(address).pathname}`);
    return new Promise(() => {});
  };
  const { client, EventSource } = page({ fetch });
  const run = client.run('/api/x', {});
  const seen = client.watch(run.operationId);
  await settled();
  EventSource.last.open();
  EventSource.last.say('live', 'a-0');
  await settled();
  assert.deepEqual(asked, ['POST /progreso/api/x']);
  assert.ok(!seen.closed);
  run.catch(() => {});
  client.close();
});

test('a watch that goes on after the ending tells re-openings', async () => {
  const { client, EventSource } = await livePage();
  const watch = client.watch('op', { untilEnd: false });
  const seen = record(watch);
  await settled();
  EventSource.last.say('operation', 'a-2', { operation_id: 'op', outcome: 'failed', progress: 10, timestamp: 't' });
  EventSource.last.say('message', 'a-3', progress('s', 20));
  assert.deepEqual(seen.map(({ event }) => event), ['progress', 'live', 'operation', 'progress']);
  assert.ok(!watch.closed);
});
