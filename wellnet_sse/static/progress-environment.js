// What the client needs of the browser, in one place so that others can stand in for it; and waiting in it.

/** @import {Environment, Timing} from './progress-client.js' */

/**
 * This browser, as far as it has these; looked up when the client is made.
 * @returns {Environment}
 */
export function browser() {
  const { EventSource, WebSocket, BroadcastChannel, navigator, window } = globalThis;
  return {
    EventSource,
    WebSocket,
    BroadcastChannel,
    locks: navigator?.locks,
    window,
    fetch: (address, options) => globalThis.fetch(address, options),
    setTimeout: (act, ms) => globalThis.setTimeout(act, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(/** @type {number} */ (timer)),
    setInterval: (act, ms) => globalThis.setInterval(act, ms),
    clearInterval: (timer) => globalThis.clearInterval(/** @type {number} */ (timer)),
    now: () => Date.now(),
    random: () => Math.random(),
  };
}

/**
 * How long to wait: doubling, jittered by half, and never less than the server asked for.
 * @param {number} failures
 * @param {number | null} retryAfterMs
 * @param {Timing} timing
 * @param {() => number} random
 */
export function backoffMs(failures, retryAfterMs, { firstRetryMs, mostRetryMs }, random) {
  const ownMs = Math.min(mostRetryMs, firstRetryMs * 2 ** Math.min(failures, 16)) * (0.5 + random() / 2);
  return Math.round(ownMs + (retryAfterMs ?? 0));
}

/**
 * `Retry-After` in milliseconds, where there is one and this page may read it (RFC 9110 §10.2.3).
 * @param {Response} response
 * @param {number} now
 */
export function retryAfter(response, now) {
  const text = response.headers.get('Retry-After');
  if (!text) return null;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}

/**
 * Waits, but not longer than it is of use.
 * @param {number} ms
 * @param {Environment} env
 * @param {[AbortSignal | undefined, Promise<unknown>]} cutShortBy
 */
export async function delay(ms, env, [signal, ended]) {
  signal?.throwIfAborted();
  /** @type {unknown} */
  let timer;
  const time = new Promise((resolve) => {
    timer = env.setTimeout(() => resolve(undefined), ms);
  });
  await Promise.race([time, ended]); // an abort ends the watch
  env.clearTimeout(timer);
  signal?.throwIfAborted();
}
