// The public types of progress-client.js. Fields are named as on the wire.

/** `<epoch>-<seq>`: a place in a user's history, good on every transport. */
export type Cursor = string;

export type Status = 'pending' | 'in_progress' | 'completed' | 'error';

export type Outcome = 'completed' | 'failed' | 'cancelled' | 'interrupted' | 'expired';

/** One progress event: the six documented fields. */
export interface StepProgress {
  readonly operation_id: string;
  readonly step: string;
  readonly status: Status;
  /** Written for the person who waits. */
  readonly message: string;
  /** 0 to 100. */
  readonly progress: number | null;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
}

/** How an operation ended. */
export interface Ending {
  readonly operation_id: string;
  readonly outcome: Outcome;
  readonly progress: number | null;
  readonly timestamp: string;
}

/**
 * Not on the wire: the server lost its history and no longer knows an operation that it was told of or had
 * begun, so nobody can say how it ended.
 */
export interface LostEnding {
  readonly operation_id: string;
  readonly outcome: 'lost';
  readonly progress: null;
  readonly timestamp: string;
}

/** Some events are no longer kept; the state follows. */
export interface Gap {
  readonly requested: string;
  readonly earliest: Cursor | null;
  readonly latest: Cursor | null;
}

/**
 * What `watchAll` hands out, in the form of the v2 WebSocket. What did not come by the stream has no id: the steps
 * of an operation that had ended before, and a `lost` ending.
 */
export type ProgressMessage =
  | { readonly event: 'progress'; readonly id: Cursor | null; readonly data: StepProgress }
  | { readonly event: 'operation'; readonly id: Cursor | null; readonly data: Ending | LostEnding }
  | { readonly event: 'gap'; readonly id: null; readonly data: Gap }
  | { readonly event: 'live'; readonly id: Cursor; readonly data: Readonly<Record<string, never>> };

/** What `watch` hands out: the same, and `end` for the operation's ending, after which it closes. */
export type WatchMessage =
  | ProgressMessage
  | { readonly event: 'end'; readonly id: Cursor | null; readonly data: Ending | LostEnding };

export interface WatchEventMap {
  progress: MessageEvent<StepProgress>;
  /** An ending, on a watch that goes on after it. */
  operation: MessageEvent<Ending | LostEnding>;
  /** The ending of the watched operation; the watch is closed. */
  end: MessageEvent<Ending | LostEnding>;
  gap: MessageEvent<Gap>;
  /** You are up to date; from here on it is live. */
  live: MessageEvent<Readonly<Record<string, never>>>;
}

/**
 * An EventTarget, as EventSource is one, whose `data` is parsed; and an async iterable of the same messages.
 * Each event comes once, whatever happens to the connection. Leaving a `for await` loop closes the watch. Ask for
 * it at once: an iterator gives what comes from its making on.
 */
export interface Watch extends EventTarget, AsyncIterable<WatchMessage> {
  /** null: all of the user's operations. */
  readonly operationId: string | null;
  /** How it ended; null where the watch was closed before. Never rejects. */
  readonly ended: Promise<Ending | LostEnding | null>;
  readonly closed: boolean;
  close(): void;
  addEventListener<Type extends keyof WatchEventMap>(
    type: Type,
    listener: (event: WatchEventMap[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  [Symbol.asyncIterator](): AsyncGenerator<WatchMessage, void, void>;
}

export interface WatchOptions {
  /** Whether it closes with the operation's ending (default), or goes on to tell re-openings. */
  untilEnd?: boolean;
}

/** An operation as far as this browser knows it; frozen, and the same object until something changes. */
export interface OperationState {
  readonly operation_id: string;
  /** null while it runs. */
  readonly outcome: Outcome | 'lost' | null;
  /** The ending's, else the mean of the steps seen, null counting as 0, rounded down; null before one. */
  readonly progress: number | null;
  /** The last event of each step, in the order of their first ones. */
  readonly steps: readonly StepProgress[];
  /** Of its newest event. */
  readonly cursor: Cursor | null;
}

/** Which way the stream comes: Server-Sent Events, or the WebSocket dialect `wellnet.progress.v2`. */
export type Transport = 'sse' | 'websocket';

/**
 * - `connecting`: on the way to the first `live`;
 * - `live`: up to date, and told of everything from here on;
 * - `offline`: the browser has no network (it is tried all the same);
 * - `reconnecting`: cut off, it will try again at `retryAt`, and miss nothing by it; without a `reason` it only looks
 *   whether all is well: after sleep, long silence, or `reconnect`;
 * - `closed`: nothing is watched, or the server refuses this user (`reason: 'refused'`, see `reconnect`).
 */
export type ConnectionState = 'connecting' | 'live' | 'offline' | 'reconnecting' | 'closed';

/**
 * - `drain`, `slow`, `expired`: the server closed the stream and said so;
 * - `lost`: it broke off; `silent`: it was open and said nothing; `unreachable`: it could not be opened;
 * - `busy`: 429 or 5xx; `refused`: any other refusal; `offline`: no network.
 */
export type ConnectionReason =
  | 'drain'
  | 'slow'
  | 'expired'
  | 'lost'
  | 'silent'
  | 'unreachable'
  | 'busy'
  | 'refused'
  | 'offline';

export interface ConnectionStatus {
  readonly state: ConnectionState;
  /** Why it is not live. */
  readonly reason: ConnectionReason | null;
  /** While live. */
  readonly transport: Transport | null;
  /** When it is tried again, in milliseconds since 1970. */
  readonly retryAt: number | null;
}

export interface ProgressClientEventMap {
  connection: MessageEvent<ConnectionStatus>;
}

/** What a POST of this server answers; the documented endpoints: `success` and `message`. */
export interface Answer {
  readonly success?: boolean;
  readonly message?: string;
  readonly [field: string]: unknown;
}

export interface PostOptions {
  /** Goes into `X-Operation-ID`. */
  operationId?: string;
  /** Goes into `Prefer`. */
  prefer?: string;
  signal?: AbortSignal;
}

export interface RunOptions {
  /** Default: a new one, `<endpoint>-<milliseconds>-<random>`. The same one again is the next attempt. */
  operationId?: string;
  /** Stops following. The work is the server's and goes on: see `cancel`. */
  signal?: AbortSignal;
}

/** Resolves with the ending, whatever the outcome; rejects with ProgressError where the server refuses the work. */
export interface Run extends Promise<Ending | LostEnding> {
  readonly operationId: string;
  readonly watch: Watch;
}

export interface ProgressClientOptions {
  /** The employee who works. */
  userId: number | string;
  /** Where the server is; default: this page's origin. A path before its routes is kept. */
  baseUrl?: string;
  /**
   * For a server in identity mode `token`, unless its cookie is there: the token, or what gets one whenever it is
   * needed. A stream ends with the token that it was opened with; what gets the next one keeps it live, where a mere
   * text ends in `refused`.
   */
  token?: string | (() => string | Promise<string>);
  timing?: Partial<Timing>;
  /** Stand-ins for what the browser has. */
  environment?: Partial<Environment>;
}

/** Milliseconds. */
export interface Timing {
  /** The first wait before a new try; it doubles, jittered by half. Default 1000. */
  firstRetryMs: number;
  /** Default 30 000. A `Retry-After` of the server comes on top. */
  mostRetryMs: number;
  /** How long a new stream may say nothing before it is `live`. Default 10 000. */
  answerMs: number;
  /** A live stream that is silent for so long while something runs is opened anew. Default 90 000. */
  silenceMs: number;
  /** Timers that are late by so much mean that the machine slept: the stream is opened anew. Default 90 000. */
  sleepMs: number;
  /** How often the two are looked at, and, beyond `tabAnswerMs`, whether the tab that leads is there. Default 5000. */
  tickMs: number;
  /** How long the tab that holds the connection may take to answer another tab. Default 3000. */
  tabAnswerMs: number;
}

/** What the client uses of the browser. */
export interface Environment {
  EventSource: (new (url: string, options?: EventSourceInit) => EventSource) | undefined;
  WebSocket: (new (url: string, protocol: string) => WebSocket) | undefined;
  BroadcastChannel: (new (name: string) => BroadcastChannel) | undefined;
  locks: Pick<LockManager, 'request'> | undefined;
  /** For `online`, `offline`, `pageshow`, and its document's `visibilitychange`. */
  window: (EventTarget & { document?: EventTarget & { readonly visibilityState?: string } }) | undefined;
  fetch: (address: string | URL, options?: RequestInit) => Promise<Response>;
  setTimeout: (act: () => void, ms: number) => unknown;
  clearTimeout: (timer: unknown) => void;
  setInterval: (act: () => void, ms: number) => unknown;
  clearInterval: (timer: unknown) => void;
  now: () => number;
  /** 0 to 1. */
  random: () => number;
}

/** What the server or the network refused; `message` is a sentence for a person. */
export class ProgressError extends Error {
  constructor(message: string, details: { status: number; code?: string | null });
  /** The HTTP status; 0 where there was no answer. */
  readonly status: number;
  readonly code: string | null;
}

/**
 * Follows the operations of one user, and starts them. It is connected while something is watched, by one
 * connection for all tabs of this browser. Its event `connection` tells how that is.
 */
export class ProgressClient extends EventTarget {
  constructor(options: ProgressClientOptions);
  readonly userId: string;
  readonly connection: ConnectionStatus;
  /** What is known of an operation; null where nothing is. */
  operation(operationId: string): OperationState | null;
  /** Those that run and the latest that ended. */
  operations(): OperationState[];
  /** One operation, from its state on, also before it exists and after it has ended. */
  watch(operationId: string, options?: WatchOptions): Watch;
  /** All operations, from the state of those that run on. */
  watchAll(): Watch;
  /**
   * Has the server do something and follows it to its end. Refusals that did nothing (429, 503) are tried again,
   * and so is a request without an answer where the server does not know of it: nothing is ever done twice.
   */
  run(endpoint: string, body: unknown, options?: RunOptions): Run;
  /** A plain POST with the two documented headers. Rejects with ProgressError where it is refused. */
  post(endpoint: string, body?: unknown, options?: PostOptions): Promise<Answer>;
  /** Begins an operation, and declares steps of it. */
  begin(operationId: string, steps?: readonly string[]): Promise<void>;
  /** No more is to come; it ends when nothing of it runs. */
  stop(operationId: string): Promise<void>;
  /** Nothing more is begun under it. */
  cancel(operationId: string): Promise<void>;
  /** `<kind>-<milliseconds>-<random>`, as documented clients make them. */
  newOperationId(kind?: string): string;
  /** Tries at once, also after a refusal: call it when the user has signed in again. */
  reconnect(): void;
  /** Closes all watches, and with the last one the connection. */
  close(): void;
  addEventListener<Type extends keyof ProgressClientEventMap>(
    type: Type,
    listener: (event: ProgressClientEventMap[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
