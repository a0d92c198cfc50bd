// The real server in a process of its own, and waiting for what happens.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { EventSource, getGlobalDispatcher } from 'undici';
import WebSocket from 'ws';

import { ProgressClient } from '../../wellnet_sse/static/progress-client.js';

process.removeAllListeners('warning'); // "EventSource is experimental"

const PYTHON = process.env.WELLNET_TEST_PYTHON ?? 'python3';
const SHARED = process.env.WELLNET_TEST_SERVER;
// So that a test run that is killed leaves no server behind.
const TIED = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL', '--'] : [];
const WAIT_MS = 10_000;
const START_MS = 40_000; // many start at once, beside whatever else the machine does

let users = process.pid * 1000;
/** A user that no other test has, in whichever process. */
export const newUser = () => (users += 1);

/** undici's, which reconnects by itself as a browser does; undici 6 wants to be told of its dispatcher. */
export class UndiciEventSource extends EventSource {
  constructor(url, options) {
    super(url, { ...options, dispatcher: getGlobalDispatcher() });
  }
}

/** Timers that run fifty times as fast: what is waited for happens, and waits are told as they are. */
const FAST = 50;
export const environment = {
  EventSource: UndiciEventSource,
  WebSocket,
  BroadcastChannel: undefined,
  locks: undefined,
  setTimeout: (act, ms) => setTimeout(act, ms / FAST),
  setInterval: () => undefined,
  clearInterval: () => undefined,
};

/** A client as a browser's page would have it; `t` closes it. */
export function newClient(t, server, { userId = newUser(), environment: own = {}, ...options } = {}) {
  const client = new ProgressClient({
    userId,
    baseUrl: server.url,
    environment: { ...environment, ...own },
    timing: { answerMs: 200_000 }, // in fast time: the server may be slow to start
    ...options,
  });
  t.after(() => client.close());
  return client;
}

export class TestServer {
  settings;
  #directory = mkdtempSync(join(tmpdir(), 'wellnet-client-'));
  #process = null;
  log = '';

  constructor(settings = {}) {
    this.settings = settings;
  }

  static async start(settings) {
    const server = new TestServer(settings);
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    await server.start();
    return server;
  }

  /** The one that all test files share, where there is one; else one of its own. */
  static async shared() {
    if (!SHARED) return TestServer.start();
    const server = new TestServer();
    server.url = SHARED;
    return server;
  }

  async start() {
    const bind = `127.0.0.1:${this.port}`;
    const [command, ...args] = [...TIED, PYTHON, '-m', 'wellnet_sse', 'serve', '--demo', '--bind', bind];
    this.#process = spawn(command, args, {
      cwd: this.#directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: this.#directory,
        LANG: 'C.UTF-8',
        WELLNET_DATABASE_URL: `sqlite+aiosqlite:///${join(this.#directory, 'wellnet.db')}`,
        WELLNET_DEMO_PACE_SECONDS: '0.05',
        WELLNET_GRACE_SECONDS: '0',
        ...this.settings,
      },
    });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.on('data', (data) => (this.log += data));
    }
    this.exited = new Promise((resolve) => this.#process.once('exit', resolve));
    const ready = async () => {
      if (this.#process.exitCode !== null) throw new Error(`the server ended:\n${this.log}`);
      return fetch(`${this.url}/readyz`).then(({ ok }) => ok, () => false);
    };
    try {
      await eventually(ready, 'the server is ready', START_MS);
    } catch (error) {
      await this.end(); // whoever wanted it has nothing to end
      throw new Error(`${error.message}\n${this.log}`);
    }
  }

  /** SIGKILL: a power cut. SIGTERM: it drains. */
  async stop(signal = 'SIGTERM') {
    this.#process?.kill(signal);
    await this.exited;
  }

  async end() {
    await this.stop('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async get(path) {
    return (await fetch(this.url + path)).json();
  }

  async post(path, userId, body = {}, headers = {}) {
    return fetch(this.url + path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-User-ID': String(userId), ...headers },
      body: JSON.stringify(body),
    });
  }

  /** Publishes a step as another backend would; returns its cursor. */
  async publish(userId, operationId, step, status, progress = null, message = `${step} ${status}`) {
    const path = `/api/operaciones/${operationId}/pasos/${step}`;
    const response = await this.post(path, userId, { status, message, progress });
    if (response.status !== 201) throw new Error(await response.text());
    return (await response.json()).cursor;
  }
}

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Asks again and again until the answer is truthy, and gives it; fails with what it was at the deadline. */
export async function eventually(check, what = check, ms = WAIT_MS) {
  const deadline = Date.now() + ms;
  let last;
  while (Date.now() < deadline) {
    last = await check();
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  throw new Error(`not within ${ms} ms: ${what}; it was ${JSON.stringify(last)}`);
}

/** What a watch hands out, as `[event, id, data]`, from now on. */
export function record(watch) {
  const seen = [];
  for (const type of ['progress', 'operation', 'end', 'gap', 'live']) {
    watch.addEventListener(type, ({ data, lastEventId }) => seen.push({ event: type, id: lastEventId, data }));
  }
  return seen;
}

/** Resolves when the client's connection is as wanted; at once where it is. */
export function connectionIs(client, wanted) {
  if (wanted(client.connection)) return Promise.resolve(client.connection);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the connection stayed ${JSON.stringify(client.connection)}`)),
      WAIT_MS,
    );
    client.addEventListener('connection', function listen({ data }) {
      if (!wanted(data)) return;
      clearTimeout(timer);
      client.removeEventListener('connection', listen);
      resolve(data);
    });
  });
}

export const isLive = ({ state }) => state === 'live';

/**
 * Nothing came twice, and all of it in the order of its cursors. Steps have none where the operation had ended before
 * the stream was there: the client looked them up.
 */
export function assertOnceAndInOrder(seen) {
  const told = seen.filter(({ event }) => event !== 'live' && event !== 'gap');
  const places = told.map(({ id, data }) => id || data.step);
  assert.deepEqual(places, [...new Set(places)], 'something came twice');
  const numbers = told.filter(({ id }) => id).map(({ id }) => Number(id.split('-').at(-1)));
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), 'out of order');
}
