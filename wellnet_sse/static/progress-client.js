// Live progress of a user's operations in the browser: follows them over SSE or WebSocket, starts them, and hands
// each event to the caller exactly once. No build step, no dependency. Types and docs: progress-client.d.ts.
//
//   const client = new ProgressClient({ userId: 7, baseUrl: 'https://wellnet-rd.com:444' });
//   const removal = client.run('/api/conexiones/eliminar', { id_conexion: 3 });
//   for await (const { event, data } of removal.watch) if (event === 'progress') show(data);
//   const { outcome } = await removal;

import { Connection } from './progress-connection.js';
import { backoffMs, browser, delay, retryAfter } from './progress-environment.js';
import { History } from './progress-history.js';
import { ProgressError, Server, refusal } from './progress-server.js';
import { Tabs } from './progress-tabs.js';
import { Watch } from './progress-watch.js';

export { ProgressError };

/**
 * @import {Answer, ConnectionStatus, Cursor, Ending, LostEnding, ProgressClientOptions, ProgressMessage,
 *   Run, RunOptions, Timing, WatchOptions} from './progress-client.js'
 * @import {Snapshot} from './progress-history.js'
 */

/** @type {Timing} */
const TIMING = {
  firstRetryMs: 1000,
  mostRetryMs: 30_000,
  answerMs: 10_000,
  silenceMs: 90_000,
  sleepMs: 90_000,
  tickMs: 5000,
  tabAnswerMs: 3000,
};
const OPERATION_ID_LIMIT = 128;

export class ProgressClient extends EventTarget {
  #userId;
  #server;
  #env;
  #timing;
  #history = new History();
  #tabs;
  #connection;
  /** @type {Set<Watch>} */
  #watches = new Set();
  /** @type {ConnectionStatus} */
  #status = { state: 'closed', reason: null, transport: null, retryAt: null };
  #isUpToDate = false;
  /** @type {Map<string, {isAccepted: boolean, isReplay: boolean, before: Cursor | null}>} what `run` is at */
  #runs = new Map();
  /** @type {Set<string>} ids that were made here and are used for nothing yet */
  #unused = new Set();

  /** @param {ProgressClientOptions} options */
  constructor({ userId, baseUrl = globalThis.location?.origin, token, timing, environment }) {
    super();
    this.#userId = String(userId);
    this.#timing = { ...TIMING, ...timing };
    const env = (this.#env = { ...browser(), ...environment });
    this.#server = new Server({ userId: this.#userId, baseUrl, token, env });
    this.#connection = new Connection({
      env,
      timing: this.#timing,
      address: (transport, cursor) => this.#server.address(transport, cursor),
      headers: () => this.#server.headers(),
      cursor: () => this.#history.cursor,
      isAwaiting: () => this.#history.state(null).length > 0,
      onMessage: (message) => {
        this.#tabs.tell({ type: 'message', message });
        this.#receive(message);
      },
      onStatus: (status) => {
        this.#tabs.tell({ type: 'status', status });
        this.#setStatus(status);
      },
    });
    this.#tabs = new Tabs({
      env,
      name: `wellnet-progress ${this.#server.url} ${this.#userId}`,
      answerMs: this.#timing.tabAnswerMs,
      everyMs: this.#timing.tickMs + this.#timing.tabAnswerMs,
      onLead: () => this.#connection.open(),
      onFollow: () => {
        this.#connection.close();
        this.#setStatus({ state: 'reconnecting', reason: null, transport: null, retryAt: null });
      },
      onReconnect: () => this.reconnect(),
      onTold: (told) => {
        if (told.type === 'message') return this.#receive(told.message);
        if (told.type === 'state') this.#adopt(told.snapshot, told.status);
        this.#setStatus(told.status);
      },
      describe: () => ({ snapshot: this.#history.snapshot(), status: this.#status }),
    });
  }

  get userId() {
    return this.#userId;
  }

  get connection() {
    return this.#status;
  }

  /** @param {string} operationId */
  operation(operationId) {
    return this.#history.operation(operationId);
  }

  operations() {
    return this.#history.operations();
  }

  /**
   * @param {string} operationId
   * @param {WatchOptions} [options]
   */
  watch(operationId, { untilEnd = true } = {}) {
    const watch = this.#open(operationId, untilEnd);
    queueMicrotask(() => {
      this.#begin(watch, this.#history.state(operationId));
      if (this.#isUpToDate) this.#lookUpUnknown(operationId);
    });
    return watch;
  }

  watchAll() {
    const watch = this.#open(null, false);
    queueMicrotask(() => this.#begin(watch, this.#history.state(null)));
    return watch;
  }

  /**
   * @param {string} endpoint
   * @param {unknown} body
   * @param {RunOptions} [options]
   * @returns {Run}
   */
  run(endpoint, body, { operationId = this.newOperationId(kindOf(endpoint)), signal } = {}) {
    // From now on, without its state: the ending that this run resolves with is yet to come.
    const watch = this.#open(operationId, true);
    this.#begin(watch, []);
    const outcome = this.#run(endpoint, body, { operationId, signal, watch });
    return Object.assign(outcome, { operationId, watch });
  }

  /**
   * @param {string} endpoint
   * @param {unknown} [body]
   * @param {{operationId?: string, prefer?: string, signal?: AbortSignal}} [options]
   * @returns {Promise<Answer>}
   */
  post(endpoint, body, options) {
    return this.#server.post(endpoint, body, options);
  }

  /**
   * @param {string} operationId
   * @param {readonly string[]} [steps]
   */
  async begin(operationId, steps = []) {
    await this.post('/api/operaciones', { operation_id: operationId, steps });
  }

  /** @param {string} operationId */
  async stop(operationId) {
    await this.post(`/api/operaciones/${encodeURIComponent(operationId)}/detener`);
  }

  /** @param {string} operationId */
  async cancel(operationId) {
    await this.post(`/api/operaciones/${encodeURIComponent(operationId)}/cancelar`);
  }

  /** @param {string} [kind] */
  newOperationId(kind = 'operation') {
    const random = [...crypto.getRandomValues(new Uint8Array(9))].map((byte) => (byte % 36).toString(36));
    const operationId = `${kind}-${this.#env.now()}-${random.join('')}`.slice(-OPERATION_ID_LIMIT);
    this.#unused.add(operationId);
    return operationId;
  }

  reconnect() {
    if (!this.#tabs.leads) this.#tabs.askToReconnect();
    else if (this.#status.state === 'closed') this.#connection.open();
    else this.#connection.renew();
  }

  close() {
    for (const watch of [...this.#watches]) watch.close();
  }

  // Watches

  /**
   * @param {string | null} operationId
   * @param {boolean} untilEnd
   */
  #open(operationId, untilEnd) {
    return new Watch(operationId, { untilEnd, onClose: (closed) => this.#forget(closed) });
  }

  /**
   * @param {Watch} watch
   * @param {ProgressMessage[]} state what came before it
   */
  #begin(watch, state) {
    if (watch.closed) return;
    const isFirst = this.#watches.size === 0;
    this.#watches.add(watch);
    if (isFirst) {
      this.#setStatus({ state: 'connecting', reason: null, transport: null, retryAt: null });
      this.#tabs.join();
    }
    for (const message of state) watch.deliver(message);
    const { cursor } = this.#history;
    if (this.#isUpToDate && cursor !== null) watch.deliver({ event: 'live', id: cursor, data: {} });
  }

  /** @param {Watch} watch */
  #forget(watch) {
    if (!this.#watches.delete(watch) || this.#watches.size > 0) return;
    this.#isUpToDate = false;
    this.#tabs.leave();
    this.#connection.close();
    this.#setStatus({ state: 'closed', reason: null, transport: null, retryAt: null });
  }

  /** @param {ProgressMessage} message */
  #receive(message) {
    if (!this.#history.receive(message)) return;
    this.#deliver(message);
    if (message.event === 'live') this.#becomeUpToDate();
  }

  /**
   * Becomes equal to the tab that leads.
   * @param {Snapshot} snapshot
   * @param {ConnectionStatus} status
   */
  #adopt(snapshot, status) {
    for (const message of this.#history.adopt(snapshot)) this.#deliver(message);
    const { cursor } = this.#history;
    if (status.state !== 'live' || this.#isUpToDate || cursor === null) return;
    this.#deliver({ event: 'live', id: cursor, data: {} });
    this.#becomeUpToDate();
  }

  /** @param {ProgressMessage} message */
  #deliver(message) {
    for (const watch of [...this.#watches]) watch.deliver(message);
  }

  #becomeUpToDate() {
    this.#isUpToDate = true;
    const watched = new Set([...this.#watches].map(({ operationId }) => operationId));
    for (const operationId of watched) if (operationId !== null) this.#lookUpUnknown(operationId);
    for (const operationId of this.#history.orphans()) this.#lookUp(operationId);
  }

  /** @param {ConnectionStatus} status */
  #setStatus(status) {
    if (this.#watches.size === 0 && status.state !== 'closed') return;
    if (status.state !== 'live') this.#isUpToDate = false;
    if (JSON.stringify(status) === JSON.stringify(this.#status)) return;
    this.#status = status;
    this.dispatchEvent(new MessageEvent('connection', { data: status }));
  }

  // Operations that the stream does not tell: those that ended before it began, and those that are lost

  /** @param {string} operationId */
  #lookUpUnknown(operationId) {
    const run = this.#runs.get(operationId);
    const known = this.#history.operation(operationId);
    const isUnheard = run?.isAccepted && known?.cursor === run.before;
    if (run ? run.isAccepted && (known === null || isUnheard) : known === null) this.#lookUp(operationId);
  }

  /**
   * Reads the operation and takes in what the stream will not tell.
   * @param {string} operationId
   */
  async #lookUp(operationId) {
    const described = await this.#server.read(operationId);
    const run = this.#runs.get(operationId);
    if (described) {
      if (run && !run.isReplay && described.cursor === run.before) return; // the ending before this attempt
      for (const message of this.#history.adoptEnded(described)) this.#deliver(message);
    } else if (described === null) {
      const existed = run?.isAccepted || this.#history.orphans().includes(operationId);
      if (existed) this.#receive({ event: 'operation', id: null, data: lost(operationId, this.#env.now()) });
    }
    // Without an answer: `live` comes again, and so does this.
  }

  // Starting

  /**
   * @param {string} endpoint
   * @param {unknown} body
   * @param {{operationId: string, signal: AbortSignal | undefined, watch: Watch}} options
   * @returns {Promise<Ending | LostEnding>}
   */
  async #run(endpoint, body, { operationId, signal, watch }) {
    const isNew = this.#unused.delete(operationId);
    const known = this.#history.operation(operationId);
    let before = known?.cursor ?? null;
    this.#runs.set(operationId, { isAccepted: false, isReplay: false, before });
    const stopWatching = () => watch.close();
    signal?.addEventListener('abort', stopWatching);
    try {
      // An id that somebody else made may have a past that this tab never heard of, and that is not this run's.
      if (!known && !isNew) before = (await this.#read(operationId, this.#pauses(signal, watch), watch))?.cursor ?? null;
      const isReplay = await this.#start(endpoint, body, { operationId, before, signal, watch });
      this.#runs.set(operationId, { isAccepted: true, isReplay, before });
      if (isReplay) for (const message of this.#history.state(operationId)) watch.deliver(message);
      if (this.#isUpToDate && !watch.closed) this.#lookUpUnknown(operationId);
      const ending = await watch.ended;
      signal?.throwIfAborted();
      if (!ending) throw new ProgressError('Se dejó de seguir la operación', { status: 0, code: 'closed' });
      return ending;
    } finally {
      signal?.removeEventListener('abort', stopWatching);
      this.#runs.delete(operationId);
      watch.close();
    }
  }

  /**
   * Posts until the server has it. The same operation with the same body never runs twice, so a refusal that did
   * nothing is simply posted again; after no answer at all the operation itself tells whether it began. Returns
   * whether it was over before.
   * @param {string} endpoint
   * @param {unknown} body
   * @param {{operationId: string, before: Cursor | null, signal: AbortSignal | undefined, watch: Watch}} options
   */
  async #start(endpoint, body, { operationId, before, signal, watch }) {
    const pause = this.#pauses(signal, watch);
    while (!watch.closed) {
      let retryAfterMs = null;
      let isAnswered = false;
      try {
        const options = { operationId, prefer: 'respond-async', signal };
        const { response, answer } = await this.#server.send(endpoint, body, options);
        if (response.ok) return response.headers.has('Idempotent-Replay');
        if (![429, 502, 503, 504].includes(response.status)) throw refusal(response, answer);
        isAnswered = response.status === 429 || response.status === 503;
        retryAfterMs = retryAfter(response, this.#env.now());
      } catch (error) {
        if (error instanceof ProgressError || signal?.aborted) throw error;
      }
      await pause(retryAfterMs);
      const found = isAnswered ? null : await this.#read(operationId, pause, watch);
      if (found && found.cursor !== before) return false;
    }
    return false;
  }

  /**
   * What the server knows of an operation, as soon as it answers.
   * @param {string} operationId
   * @param {(retryAfterMs: number | null) => Promise<void>} pause
   * @param {Watch} watch when it is closed, nobody wants to know
   */
  async #read(operationId, pause, watch) {
    let found;
    while (!watch.closed && (found = await this.#server.read(operationId)) === undefined) await pause(null);
    return found;
  }

  /**
   * Waits that double, for as long as the watch is there.
   * @param {AbortSignal | undefined} signal
   * @param {Watch} watch
   * @returns {(retryAfterMs: number | null) => Promise<void>}
   */
  #pauses(signal, watch) {
    let failures = 0;
    return (retryAfterMs) => {
      const delayMs = backoffMs(failures++, retryAfterMs, this.#timing, this.#env.random);
      return delay(delayMs, this.#env, [signal, watch.ended]);
    };
  }
}

/**
 * `/api/conexiones/quitar-asignacion` gives `conexiones-quitar-asignacion`.
 * @param {string} endpoint
 */
function kindOf(endpoint) {
  const path = new URL(endpoint, 'http://localhost').pathname.split('/').filter((part) => part && part !== 'api');
  return path.slice(-2).join('-').replace(/[^A-Za-z0-9._:-]/g, '') || undefined;
}

/**
 * @param {string} operationId
 * @param {number} now
 * @returns {LostEnding}
 */
function lost(operationId, now) {
  const timestamp = new Date(now).toISOString();
  return { operation_id: operationId, outcome: 'lost', progress: null, timestamp };
}
