// The operations of this page: what the client knows of each, and what only the page knows, such as that an order
// is still on its way. It says `changed` for each that is now different; showing that is for others.

import { ProgressError } from '../progress-server.js';
import { read } from './reading.js';

/**
 * @import {Ending, LostEnding, OperationState, ProgressClient, StepProgress} from '../progress-client.js'
 *
 * @typedef {{
 *   operationId: string,
 *   idConexion: number | null,
 *   state: OperationState | null,
 *   declared: boolean,
 *   startedAt: number | null,
 *   endedAt: number | null,
 *   estimate: {p50: number, p90: number} | null,
 *   stalled: readonly string[],
 *   sending: boolean,
 *   withdrawn: boolean,
 *   cancelling: boolean,
 *   refusal: string | null,
 * }} Entry `declared`: whether its steps are all known, so that there is a whole to be told a share of; `startedAt` and `endedAt`: of this attempt, in the server's milliseconds since 1970; `estimate`: when it
 *   ends, one time in two and nine in ten; `stalled`: its steps that are silent for longer than usual;
 *   `withdrawn`: the order was called back before the server had said that it took it; `refusal`: why the server did
 *   not take an order
 */

const ENDPOINT = '/api/conexiones/eliminar';
const KIND = 'eliminar-conexion';
const CLEANUP = /^limpieza-(\d{1,18})$/;
const OF_CONNECTION = new RegExp(`^${KIND}-(\\d{1,18})-`);
/** How many operations are looked up for what events do not tell, and how often while any runs. */
const LOOKED_UP = 100;
const LOOK_MS = 2000;
/** What takes longer is no answer. */
const PATIENCE_MS = 10_000;

/** The connection that an operation of this page removes. @param {string} operationId */
export function connectionOf(operationId) {
  const match = OF_CONNECTION.exec(operationId);
  return match ? Number(match[1]) : null;
}

/**
 * The number of the clean-up that the operation is: the server does these by itself, where something was left in a
 * router.
 * @param {string} operationId
 */
export function cleanupOf(operationId) {
  const match = CLEANUP.exec(operationId);
  return match ? Number(match[1]) : null;
}

/** @param {Entry} entry */
export const isRunning = ({ state, sending, withdrawn, refusal }) =>
  refusal === null && !withdrawn && (sending || state === null || state.outcome === null);

/**
 * How far the whole of it is; null where that cannot be told.
 * @param {Entry} entry
 */
export function progressOf({ state, declared }) {
  if (state === null) return 0;
  return declared || state.outcome !== null ? state.progress : null;
}

export class Operations extends EventTarget {
  #client;
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  /** @type {WeakMap<Entry, AbortController>} what calls back the order that is on its way */
  #orders = new WeakMap();
  /** @type {WeakSet<Entry>} begun before this page was told of them: when, is not known yet */
  #joined = new WeakSet();
  /** How much this machine's clock is ahead of the server's, as far as can be told. */
  #aheadMs = Infinity;
  #isLive = false;
  /** How much the stream has said. */
  #heard = 0;
  #isLooking = false;

  /** @param {ProgressClient} client */
  constructor(client) {
    super();
    this.#client = client;
  }

  /** Follows everything that the user does, here and elsewhere. */
  follow() {
    const watch = this.#client.watchAll();
    watch.addEventListener('progress', ({ data }) => this.#hearStep(data));
    watch.addEventListener('operation', ({ data }) => this.#hearEnding(data));
    watch.addEventListener('live', () => {
      this.#isLive = true;
      this.#heard += 1;
      this.#lookUp({ joins: true });
    });
    setInterval(() => {
      if (this.#isLive && document.visibilityState === 'visible' && this.running().length) this.#lookUp();
    }, LOOK_MS);
    this.#client.addEventListener('connection', ({ data }) => {
      this.#isLive = data.state === 'live';
    });
  }

  /** The server's time now, in milliseconds since 1970. */
  now() {
    return Date.now() - (Number.isFinite(this.#aheadMs) ? this.#aheadMs : 0);
  }

  /** @param {string} operationId */
  entry(operationId) {
    return this.#entries.get(operationId) ?? null;
  }

  /** The newest operation of that connection. @param {number} idConexion */
  ofConnection(idConexion) {
    return [...this.#entries.values()].findLast((entry) => entry.idConexion === idConexion) ?? null;
  }

  running() {
    return [...this.#entries.values()].filter(isRunning);
  }

  /** Has the server remove a connection, all three steps as one operation. @param {number} idConexion */
  remove(idConexion) {
    const operationId = this.#client.newOperationId(`${KIND}-${idConexion}`);
    this.#send(this.#get(operationId), idConexion);
    return operationId;
  }

  /** The next attempt: what is done stays done. @param {Entry} entry */
  retry(entry) {
    if (entry.idConexion !== null) this.#send(entry, entry.idConexion);
  }

  /** Begins nothing more of it. @param {Entry} entry */
  async cancel(entry) {
    if (entry.sending) return this.#withdraw(entry);
    entry.cancelling = true;
    entry.refusal = null;
    this.#tell(entry);
    try {
      await this.#client.cancel(entry.operationId);
    } catch (error) {
      entry.cancelling = false;
      this.dispatchEvent(new MessageEvent('refused', { data: { entry, message: sentence(error) } }));
      this.#tell(entry);
    }
  }

  /**
   * It is sent no more. Whether it arrived cannot be known from here, so that the server is told as well.
   * @param {Entry} entry
   */
  async #withdraw(entry) {
    Object.assign(entry, { sending: false, withdrawn: true, startedAt: null });
    this.#orders.get(entry)?.abort();
    this.#tell(entry);
    // Without an answer, or where the server does not know of it, there is no more to be done.
    await this.#client.cancel(entry.operationId).catch(() => {});
  }

  /** @param {Entry} entry */
  forget(entry) {
    this.#entries.delete(entry.operationId);
    this.dispatchEvent(new MessageEvent('forgotten', { data: entry }));
  }

  /**
   * @param {Entry} entry
   * @param {number} idConexion
   */
  async #send(entry, idConexion) {
    const { operationId } = entry;
    const order = new AbortController();
    this.#orders.set(entry, order);
    Object.assign(entry, { sending: true, withdrawn: false, refusal: null, cancelling: false });
    Object.assign(entry, { startedAt: this.now(), endedAt: null });
    this.#tell(entry);
    try {
      await this.#client.run(ENDPOINT, { id_conexion: idConexion }, { operationId, signal: order.signal });
    } catch (error) {
      if (order.signal.aborted) return;
      entry.refusal = sentence(error);
    }
    entry.sending = false;
    this.#tell(entry);
  }

  /** @param {StepProgress} step */
  #hearStep({ operation_id, step, timestamp }) {
    const entry = this.#get(operation_id);
    const at = Date.parse(timestamp);
    if (this.#isLive) this.#aheadMs = Math.min(this.#aheadMs, Date.now() - at);
    if (entry.startedAt === null && !this.#isLive) this.#joined.add(entry);
    if (entry.endedAt !== null || entry.startedAt === null) Object.assign(entry, { startedAt: at, endedAt: null });
    entry.stalled = entry.stalled.filter((silent) => silent !== step);
    this.#update(entry);
  }

  /** @param {Ending | LostEnding} ending */
  #hearEnding({ operation_id, timestamp }) {
    const entry = this.#get(operation_id);
    Object.assign(entry, { endedAt: Date.parse(timestamp), estimate: null, stalled: [], cancelling: false });
    this.#update(entry);
  }

  /** @param {Entry} entry */
  #update(entry) {
    this.#heard += 1;
    entry.state = this.#client.operation(entry.operationId);
    Object.assign(entry, { sending: false, withdrawn: false, refusal: null });
    this.#tell(entry);
  }

  /**
   * The stream tells what happens; not when those began that this page joined too late for, nor when they may end.
   * @param {{joins?: boolean}} [options] whether it has just joined
   */
  async #lookUp({ joins = false } = {}) {
    if (this.#isLooking && !joins) return;
    this.#isLooking = true;
    const heard = this.#heard;
    try {
      const { userId } = this.#client;
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const { operations } = await read(`/api/operaciones?limit=${LOOKED_UP}`, { userId, signal });
      for (const operation of operations) {
        const { operation_id, outcome, progress, estimate, steps } = operation;
        const entry = this.#entries.get(operation_id);
        if (!entry || outcome !== null || entry.state?.outcome !== null) continue;
        if (this.#joined.delete(entry)) entry.startedAt = begunAt(operation);
        entry.declared = progress !== null;
        entry.estimate = estimate ? { p50: Date.parse(estimate.p50), p90: Date.parse(estimate.p90) } : null;
        entry.stalled = steps.filter(isStalled).map((/** @type {StepProgress} */ { step }) => step);
        this.#tell(entry);
      }
    } catch (error) {
      // Then it counts from the first event that was seen, and nothing is foreseen. But where nothing answers, the
      // stream may be as dead.
      const isSilent = error instanceof ProgressError && error.status === 0 && heard === this.#heard;
      if (isSilent && this.#isLive) this.#client.reconnect();
    }
    this.#isLooking = false;
  }

  /**
   * @param {string} operationId
   * @returns {Entry}
   */
  #get(operationId) {
    let entry = this.#entries.get(operationId);
    if (!entry) {
      const idConexion = connectionOf(operationId);
      entry = {
        operationId,
        idConexion,
        state: null,
        // The server declares the steps of its own operations with their first event.
        declared: idConexion !== null || cleanupOf(operationId) !== null,
        startedAt: null,
        endedAt: null,
        estimate: null,
        stalled: [],
        sending: false,
        withdrawn: false,
        cancelling: false,
        refusal: null,
      };
      this.#entries.set(operationId, entry);
    }
    return entry;
  }

  /** @param {Entry} entry */
  #tell(entry) {
    this.dispatchEvent(new MessageEvent('changed', { data: entry }));
  }
}

/**
 * When the attempt that runs began. An operation's own beginning is its first attempt's.
 * @param {{started_at: string, steps: {attempt: number, timestamp: string}[]}} operation
 */
function begunAt({ started_at, steps }) {
  const attempt = Math.max(1, ...steps.map((step) => step.attempt));
  if (attempt === 1) return Date.parse(started_at);
  return Math.min(...steps.filter((step) => step.attempt === attempt).map((step) => Date.parse(step.timestamp)));
}

/** @param {{stalled?: boolean}} step */
const isStalled = ({ stalled }) => stalled === true;

/** @param {unknown} error */
function sentence(error) {
  return error instanceof Error ? error.message : String(error);
}
