// One connection to the server that follows all of a user's operations, and its whole life: EventSource first,
// WebSocket v2 where that fails, the same cursor on both; back after restarts, refusals, sleep and lost networks.
// It hands messages on as they come: what was seen before is the history's business.

import { backoffMs, retryAfter } from './progress-environment.js';
import { ProgressError } from './progress-server.js';

/**
 * @import {ConnectionReason, ConnectionStatus, Cursor, Environment, ProgressMessage, Timing, Transport}
 *   from './progress-client.js'
 *
 * @typedef {{
 *   opened: () => void,
 *   message: (message: ProgressMessage) => void,
 *   ended: (reason: string) => void,
 *   failed: (failure: {refused: boolean, code?: number}) => void,
 * }} Listener
 * @typedef {{close: () => void}} Source
 * @typedef {(transport: Transport, cursor: Cursor | null) => Promise<string>} Address where a stream is to be
 *   opened; fails where no ticket could be had
 */

const SUBPROTOCOL = 'wellnet.progress.v2';
const STREAM_EVENTS = ['message', 'operation', 'end', 'gap', 'live'];
/** @type {Record<number, ConnectionReason>} what the close codes of protocol §4 mean */
const CLOSE_CODES = { 1012: 'drain', 1013: 'slow' };
/** Statuses that trying again does not cure. A 403 may be a proxy that lets WebSockets pass. */
const FINAL_STATUSES = [400, 401];
/** How many times longer silence is taken for peace while no operation is awaited. */
const IDLE_PATIENCE = 10;

export class Connection {
  #env;
  #timing;
  #address;
  #headers;
  #cursor;
  #isAwaiting;
  #onMessage;
  #onStatus;
  /** @type {Source | null} */
  #source = null;
  /** @type {Transport} */
  #transport;
  /** @type {Transport | null} the first that was live here: it passes whatever is between this page and the server */
  #proven = null;
  #attempt = 0;
  #isUpToDate = false;
  #failures = 0;
  #isOffline = false;
  /** @type {ConnectionStatus} */
  #status = { state: 'closed', reason: null, transport: null, retryAt: null };
  /** @type {unknown} */
  #timer = null;
  /** @type {unknown} */
  #ticking = null;
  #tickedAt = 0;
  #heardAt = 0;

  /**
   * @param {{
   *   env: Environment, timing: Timing, address: Address, headers: () => Promise<Record<string, string>>,
   *   cursor: () => Cursor | null, isAwaiting: () => boolean, onMessage: (message: ProgressMessage) => void,
   *   onStatus: (status: ConnectionStatus) => void,
   * }} parts
   */
  constructor({ env, timing, address, headers, cursor, isAwaiting, onMessage, onStatus }) {
    this.#env = env;
    this.#timing = timing;
    this.#address = address;
    this.#headers = headers;
    this.#cursor = cursor;
    this.#isAwaiting = isAwaiting;
    this.#onMessage = onMessage;
    this.#onStatus = onStatus;
    this.#transport = env.EventSource ? 'sse' : 'websocket';
  }

  open() {
    const { window } = this.#env;
    window?.addEventListener('offline', this.#goOffline);
    window?.addEventListener('online', this.#goOnline);
    window?.addEventListener('pageshow', this.#tick);
    window?.document?.addEventListener('visibilitychange', this.#tick);
    this.#tickedAt = this.#heardAt = this.#env.now();
    this.#ticking = this.#env.setInterval(this.#tick, this.#timing.tickMs);
    this.#failures = 0;
    this.#tell({ state: 'connecting', reason: null });
    this.#start();
  }

  /** Without a word: whoever closes it knows. */
  close() {
    const { window } = this.#env;
    window?.removeEventListener('offline', this.#goOffline);
    window?.removeEventListener('online', this.#goOnline);
    window?.removeEventListener('pageshow', this.#tick);
    window?.document?.removeEventListener('visibilitychange', this.#tick);
    this.#env.clearInterval(this.#ticking);
    this.#drop();
    this.#status = { ...this.#status, state: 'closed' };
  }

  /** Opens a new stream from the cursor now; nothing is lost by it. Until that is live, nobody can say that it is. */
  renew() {
    if (this.#status.state === 'closed') return;
    this.#drop();
    if (this.#status.state === 'live') this.#tell({ state: 'reconnecting', reason: null });
    this.#start();
  }

  #goOffline = () => {
    this.#isOffline = true;
    this.#drop();
    // Browsers are known to call a machine offline whose loopback or VPN works: it is tried all the same.
    this.#retry('offline', null);
  };

  #goOnline = () => {
    this.#isOffline = false;
    this.#failures = 0;
    if (this.#status.state === 'offline') this.#tell({ state: 'reconnecting', reason: 'offline' });
    this.renew();
  };

  /** The server's comments cannot be heard here: a long silence or sleep may hide a dead connection. */
  #tick = () => {
    const now = this.#env.now();
    const slept = now - this.#tickedAt > this.#timing.sleepMs;
    const patienceMs = this.#timing.silenceMs * (this.#isAwaiting() ? 1 : IDLE_PATIENCE);
    const silent = now - this.#heardAt > patienceMs;
    this.#tickedAt = now;
    if (!slept && !(silent && this.#status.state === 'live')) return;
    this.#heardAt = now;
    this.#failures = 0;
    this.renew();
  };

  async #start() {
    const attempt = ++this.#attempt;
    const transport = this.#transport;
    this.#isUpToDate = false;
    this.#expectWord(attempt);
    /** @param {() => void} act */
    const ifCurrent = (act) => {
      if (attempt === this.#attempt) act();
    };
    let wasOpen = false;
    /** @type {Listener} */
    const listener = {
      opened: () => {
        wasOpen = true;
      },
      message: (message) => ifCurrent(() => this.#hear(message, attempt)),
      ended: (reason) => ifCurrent(() => this.#fail(/** @type {ConnectionReason} */ (reason), null)),
      failed: ({ refused, code }) =>
        ifCurrent(() => {
          if (wasOpen) this.#fail(CLOSE_CODES[code ?? 0] ?? 'lost', null, { switches: !this.#isUpToDate });
          else if (refused || !this.#env.EventSource) this.#askWhy(attempt);
          else this.#fail('unreachable', null, { switches: true });
        }),
    };
    try {
      const address = await this.#address(transport, this.#cursor());
      ifCurrent(() => {
        this.#source = OPENERS[transport](this.#env, address, listener);
      });
    } catch (error) {
      console.warn('progress:', error);
      ifCurrent(() => {
        const { status, code } = error instanceof ProgressError ? error : { status: 0, code: null };
        // A ticket that the server itself does not give is of use to neither transport.
        const isFinal = code !== null && status < 500 && status !== 429;
        if (isFinal) this.#giveUp();
        else this.#failWith(status, null);
      });
    }
  }

  /**
   * @param {ProgressMessage} message
   * @param {number} attempt
   */
  #hear(message, attempt) {
    this.#heardAt = this.#env.now();
    if (message.event === 'live') {
      this.#env.clearTimeout(this.#timer);
      this.#isUpToDate = true;
      this.#proven ??= this.#transport;
      this.#failures = 0;
      this.#isOffline = false;
    } else if (!this.#isUpToDate) {
      this.#expectWord(attempt);
    }
    this.#onMessage(message);
    // After the message: who is told of `live` finds everything before it.
    if (message.event === 'live' && attempt === this.#attempt) this.#tell({ state: 'live', reason: null });
  }

  /**
   * A proxy that holds the stream back looks like silence: until `live`, something must come in time.
   * @param {number} attempt
   */
  #expectWord(attempt) {
    this.#env.clearTimeout(this.#timer);
    this.#timer = this.#env.setTimeout(() => {
      if (attempt === this.#attempt) this.#fail('silent', null, { switches: true });
    }, this.#timing.answerMs);
  }

  /**
   * EventSource and WebSocket do not tell why they were refused: ask again in a way that does.
   * @param {number} attempt
   */
  async #askWhy(attempt) {
    let status = 0;
    let retryAfterMs = null;
    const abort = new AbortController();
    try {
      const address = await this.#address('sse', this.#cursor());
      const headers = { Accept: 'text/event-stream', ...(await this.#headers()) };
      const response = await this.#env.fetch(address, { headers, credentials: 'include', signal: abort.signal });
      status = response.status;
      retryAfterMs = retryAfter(response, this.#env.now());
    } catch (error) {
      // No answer is an answer: the server is away. But it may have refused a ticket.
      if (error instanceof ProgressError) status = error.status;
    } finally {
      abort.abort();
    }
    if (attempt !== this.#attempt) return;
    if (FINAL_STATUSES.includes(status)) this.#giveUp();
    else this.#failWith(status, retryAfterMs);
  }

  #giveUp() {
    this.close();
    this.#tell({ state: 'closed', reason: 'refused' });
  }

  /**
   * @param {number} status of the answer; 0 where there was none
   * @param {number | null} retryAfterMs
   */
  #failWith(status, retryAfterMs) {
    const isBusy = status === 429 || status >= 500;
    const reason = isBusy ? 'busy' : status ? 'refused' : 'unreachable';
    this.#fail(reason, retryAfterMs, { switches: !isBusy && status !== 200 });
  }

  /**
   * @param {ConnectionReason} reason
   * @param {number | null} retryAfterMs
   * @param {{switches?: boolean}} [options] whether the other transport is tried next
   */
  #fail(reason, retryAfterMs, { switches = false } = {}) {
    this.#drop();
    const { EventSource, WebSocket } = this.#env;
    if (this.#isUpToDate && this.#proven) {
      // That both were tried in vain while the server was away says nothing of either.
      this.#transport = this.#proven;
    } else if (switches && !this.#isOffline && EventSource && WebSocket) {
      this.#transport = this.#transport === 'sse' ? 'websocket' : 'sse';
    }
    this.#retry(reason, retryAfterMs);
  }

  /**
   * @param {ConnectionReason} reason
   * @param {number | null} retryAfterMs
   */
  #retry(reason, retryAfterMs) {
    const delayMs = backoffMs(this.#failures++, retryAfterMs, this.#timing, this.#env.random);
    this.#timer = this.#env.setTimeout(() => this.#start(), delayMs);
    this.#tell({
      state: this.#isOffline ? 'offline' : 'reconnecting',
      reason,
      retryAt: this.#env.now() + delayMs,
    });
  }

  /** Ends whatever is under way. */
  #drop() {
    this.#attempt += 1;
    this.#env.clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /** @param {{state: ConnectionStatus['state'], reason: ConnectionReason | null, retryAt?: number}} status */
  #tell({ state, reason, retryAt = undefined }) {
    const transport = state === 'live' ? this.#transport : null;
    this.#status = { state, reason, transport, retryAt: retryAt ?? null };
    this.#onStatus(this.#status);
  }
}

/** @type {Record<Transport, (env: Environment, address: string, listener: Listener) => Source>} */
const OPENERS = {
  sse({ EventSource }, address, listener) {
    if (!EventSource) throw new Error('no EventSource here');
    const source = new EventSource(address, { withCredentials: true });
    source.addEventListener('open', listener.opened);
    source.addEventListener('error', () => {
      // It would try again by itself, with neither jitter nor a shared cursor; CLOSED: it gave up.
      const refused = source.readyState === source.CLOSED;
      source.close();
      listener.failed({ refused });
    });
    for (const type of STREAM_EVENTS) {
      source.addEventListener(type, (event) => {
        const { data, lastEventId } = /** @type {MessageEvent<string>} */ (event);
        pass(type === 'message' ? 'progress' : type, lastEventId, JSON.parse(data), listener);
      });
    }
    return source;
  },
  websocket({ WebSocket }, address, listener) {
    if (!WebSocket) throw new Error('no WebSocket here');
    const socket = new WebSocket(address, SUBPROTOCOL);
    socket.addEventListener('open', listener.opened);
    socket.addEventListener('message', (event) => {
      const { event: type, id, data } = JSON.parse(/** @type {MessageEvent<string>} */ (event).data);
      pass(type, id, data, listener);
    });
    socket.addEventListener('error', () => {}); // `close` follows and tells more
    socket.addEventListener('close', (event) => {
      listener.failed({ refused: false, code: /** @type {CloseEvent} */ (event).code });
    });
    return socket;
  },
};

/**
 * Both transports in one form. EventSource gives blocks without an id the id of the block before.
 * @param {string} type
 * @param {string | null} id
 * @param {any} data
 * @param {Listener} listener
 */
function pass(type, id, data, listener) {
  if (type === 'end' && data.reason) listener.ended(data.reason);
  else if (type === 'end') listener.message(/** @type {ProgressMessage} */ ({ event: 'operation', id, data }));
  else if (type === 'error') console.warn('progress:', data);
  else listener.message(/** @type {ProgressMessage} */ ({ event: type, id: type === 'gap' ? null : id, data }));
}
