// The server's HTTP side: requests with the source document's two headers, and the addresses of its streams.

/** @import {Answer, Cursor, Environment, Ending, StepProgress, Transport} from './progress-client.js' */

/**
 * @typedef {{operation_id: string, steps: Omit<StepProgress, 'operation_id'>[], cursor: Cursor | null,
 *   outcome: Ending['outcome'] | null, progress: number | null, finished_at: string | null}} Described
 *   what `GET /api/operaciones/{id}` answers, as far as it is of use here
 * @typedef {{operationId?: string | undefined, prefer?: string | undefined, signal?: AbortSignal | undefined}}
 *   PostOptions
 */

/** What the server or the network refused. `status` is 0 where there was no answer. */
export class ProgressError extends Error {
  /**
   * @param {string} message
   * @param {{status: number, code?: string | null}} details
   */
  constructor(message, { status, code = null }) {
    super(message);
    this.name = 'ProgressError';
    this.status = status;
    this.code = code;
  }
}

export class Server {
  #userId;
  #base;
  #token;
  #env;

  /**
   * @param {{userId: string, baseUrl: string, env: Environment,
   *   token: string | (() => string | Promise<string>) | undefined}} options
   */
  constructor({ userId, baseUrl, token, env }) {
    this.#userId = userId;
    this.#base = new URL(baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`);
    this.#token = token;
    this.#env = env;
  }

  get url() {
    return this.#base.href;
  }

  /**
   * What the server knows of an operation: null where it knows nothing, undefined where it gave no answer.
   * @param {string} operationId
   * @returns {Promise<Described | null | undefined>}
   */
  async read(operationId) {
    try {
      const path = `api/operaciones/${encodeURIComponent(operationId)}`;
      const response = await this.#fetch(path, { headers: { 'X-User-ID': this.#userId } });
      if (response.status === 404) return null;
      return response.ok ? await response.json() : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * The answer of a POST that did what it was asked. Throws ProgressError where it was refused.
   * @param {string} endpoint
   * @param {unknown} [body]
   * @param {PostOptions} [options]
   * @returns {Promise<Answer>}
   */
  async post(endpoint, body, options) {
    const { response, answer } = await this.send(endpoint, body, options);
    if (!response.ok) throw refusal(response, answer);
    return answer;
  }

  /**
   * A POST with whatever answer.
   * @param {string} endpoint
   * @param {unknown} [body]
   * @param {PostOptions} [options]
   */
  async send(endpoint, body = {}, { operationId, prefer, signal } = {}) {
    /** @type {Record<string, string>} */
    const headers = { 'Content-Type': 'application/json', 'X-User-ID': this.#userId };
    if (operationId !== undefined) headers['X-Operation-ID'] = operationId;
    if (prefer !== undefined) headers['Prefer'] = prefer;
    // keepalive: a page that is closed at once has still said what it wants.
    const sent = { method: 'POST', headers, body: JSON.stringify(body), keepalive: true, signal };
    const response = await this.#fetch(endpoint, sent);
    return { response, answer: await readJson(response) };
  }

  /**
   * @param {string} path
   * @param {{method?: string, headers?: Record<string, string>, body?: string, keepalive?: boolean,
   *   signal?: AbortSignal | undefined}} options
   */
  async #fetch(path, { headers, signal, ...options }) {
    const url = new URL(path.replace(/^\//, ''), this.#base);
    const credentials = url.origin === this.#base.origin ? await this.headers() : {};
    return this.#env.fetch(url, {
      ...options,
      headers: { ...headers, ...credentials },
      credentials: 'include',
      signal: signal ?? null,
    });
  }

  /** What says who is asking, beside `X-User-ID`. @returns {Promise<Record<string, string>>} */
  async headers() {
    const token = typeof this.#token === 'function' ? await this.#token() : this.#token;
    return token === undefined ? {} : { Authorization: `Bearer ${token}` };
  }

  /**
   * Where a stream of all the user's operations is opened.
   * @param {Transport} transport
   * @param {Cursor | null} cursor
   */
  async address(transport, cursor) {
    const url = new URL(transport === 'sse' ? 'sse/progress' : 'ws/progress', this.#base);
    if (transport === 'websocket') url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    url.searchParams.set('userId', this.#userId);
    if (cursor !== null) url.searchParams.set('lastEventId', cursor);
    // Neither EventSource nor WebSocket can send a header: a ticket that works once stands in for the token.
    if (this.#token !== undefined) {
      const { ticket } = await this.post('api/tickets');
      url.searchParams.set('ticket', String(ticket));
    }
    return url.href;
  }
}

/**
 * @param {Response} response
 * @returns {Promise<any>}
 */
async function readJson(response) {
  const text = await response.text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null; // a proxy's page
  }
}

/**
 * A refusal as an error, in the server's own words.
 * @param {Response} response
 * @param {any} answer
 */
export function refusal({ status }, answer) {
  const message = answer?.message ?? answer?.detail ?? `El servidor respondió ${status}`;
  return new ProgressError(message, { status, code: answer?.code ?? null });
}
