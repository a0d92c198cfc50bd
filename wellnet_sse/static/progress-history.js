// What this tab knows of a user's operations: the state that the protocol's events add up to, and the cursor to
// resume from. It decides what is new to the caller; no I/O.

/**
 * @import {Cursor, Ending, LostEnding, OperationState, ProgressMessage, StepProgress} from './progress-client.js'
 * @import {Described} from './progress-server.js'
 *
 * @typedef {{seq: number, id: Cursor | null, data: StepProgress}} KnownStep
 * @typedef {{seq: number, id: Cursor | null, data: Ending | LostEnding}} KnownEnding
 * @typedef {{
 *   epoch: string, cursor: Cursor | null, steps: Map<string, KnownStep>, ending: KnownEnding | null,
 *   endedAt: number, view: OperationState | null,
 * }} Known `cursor`: of its newest event; `endedAt`: the place of its newest ending, also after a re-opening
 * @typedef {{cursor: Cursor | null, messages: ProgressMessage[]}} Snapshot
 */

const ENDED_KEPT = 200;

/**
 * The parts of `<epoch>-<seq>`.
 * @param {Cursor} cursor
 */
export function parseCursor(cursor) {
  const dash = cursor.lastIndexOf('-');
  return { epoch: cursor.slice(0, dash), seq: Number(cursor.slice(dash + 1)) };
}

export class History {
  /** @type {Map<string, Known>} */
  #operations = new Map();
  /** @type {Cursor | null} */
  #cursor = null;
  #epoch = '';
  #seq = 0;
  /** @type {Set<string>} */
  #pastEpochs = new Set();
  #restating = false;

  /** Where to resume: every event up to here is known. @returns {Cursor | null} */
  get cursor() {
    return this.#cursor;
  }

  /**
   * Takes in what came over the wire, from whichever connection or tab. Returns whether it is new to the caller.
   * @param {ProgressMessage} message
   */
  receive(message) {
    switch (message.event) {
      case 'gap':
        // What follows is state: it may lie before the cursor, and steps that were never seen are news.
        this.#restating = true;
        return true;
      case 'live': {
        const isHere = this.#reach(message.id);
        if (isHere) this.#restating = false;
        return isHere;
      }
      case 'progress':
        return message.id !== null && this.#receiveStep(message.id, message.data);
      case 'operation':
        if (message.id === null) return this.#lose(message.data);
        return this.#receiveEnding(message.id, message.data);
    }
  }

  /**
   * The operation as far as it is known; the same object until something changes, frozen.
   * @param {string} operationId
   * @returns {OperationState | null}
   */
  operation(operationId) {
    const known = this.#operations.get(operationId);
    if (!known) return null;
    return (known.view ??= view(operationId, known));
  }

  /** @returns {OperationState[]} */
  operations() {
    return [...this.#operations].map(([operationId, known]) => (known.view ??= view(operationId, known)));
  }

  /**
   * The state as the messages that a reader who begins now has missed, in order: of one operation, or of all
   * that have not ended.
   * @param {string | null} operationId
   * @returns {ProgressMessage[]}
   */
  state(operationId) {
    if (operationId === null) return messages(this.#ofThisEpoch().filter((known) => known.ending === null));
    const known = this.#operations.get(operationId);
    return known ? messages([known]) : [];
  }

  /** All that is known, for another tab. @returns {Snapshot} */
  snapshot() {
    return { cursor: this.#cursor, messages: messages(this.#ofThisEpoch()) };
  }

  /**
   * Takes in what another tab knows. Returns the messages that are new to the caller.
   * @param {Snapshot} snapshot
   */
  adopt({ cursor, messages: told }) {
    if (cursor === null || this.#isPast(cursor)) return [];
    const before = this.#cursor;
    /** @type {ProgressMessage} */
    const gap = { event: 'gap', id: null, data: { requested: before ?? '', earliest: null, latest: cursor } };
    this.#restating = true;
    const news = told.filter((message) => this.receive(message));
    this.#restating = false;
    const isBehind = this.#cursor !== before || this.#isBefore(cursor);
    this.#reach(cursor);
    return before !== null && isBehind ? [gap, ...news] : news;
  }

  /**
   * Takes in an ended operation that this tab joined too late for, as `GET /api/operaciones/{id}` tells it.
   * Returns the messages that are new to the caller: none where the stream tells the ending anyway.
   * @param {Described} described
   * @returns {ProgressMessage[]}
   */
  adoptEnded({ operation_id, steps, cursor, outcome, progress, finished_at }) {
    if (outcome === null || cursor === null || finished_at === null) return [];
    const { epoch, seq } = parseCursor(cursor);
    const known = this.#operations.get(operation_id);
    const isTold = known?.epoch === epoch && known.endedAt >= seq;
    if (isTold || epoch !== this.#epoch || seq > this.#seq) return [];
    const now = fresh(epoch);
    for (const { step, status, message, progress: number, timestamp } of steps) {
      now.steps.set(step, {
        seq,
        id: null,
        data: { operation_id, step, status, message, progress: number, timestamp },
      });
    }
    now.ending = { seq, id: cursor, data: { operation_id, outcome, progress, timestamp: finished_at } };
    now.endedAt = seq;
    now.cursor = cursor;
    this.#keep(operation_id, now);
    return messages([now]);
  }

  /** Operations that were running in a history that is lost, and that the new one has not named. */
  orphans() {
    return [...this.#operations]
      .filter(([, known]) => known.epoch !== this.#epoch && known.ending === null)
      .map(([operationId]) => operationId);
  }

  /**
   * @param {Cursor} id
   * @param {StepProgress} data
   */
  #receiveStep(id, data) {
    const { epoch, seq } = parseCursor(id);
    const known = this.#current(data.operation_id, epoch);
    const last = known?.steps.get(data.step)?.seq;
    if (!this.#isNews(id, last)) return false;
    const now = known ?? fresh(epoch);
    now.steps.set(data.step, { seq, id, data });
    now.cursor = id;
    if (now.ending && seq > now.ending.seq) now.ending = null; // re-opened
    this.#keep(data.operation_id, now);
    return true;
  }

  /**
   * @param {Cursor} id
   * @param {Ending | LostEnding} data
   */
  #receiveEnding(id, data) {
    const { epoch, seq } = parseCursor(id);
    const known = this.#current(data.operation_id, epoch);
    if (!this.#isNews(id, known?.endedAt || undefined)) return false;
    const now = known ?? fresh(epoch);
    now.ending = { seq, id, data };
    now.endedAt = seq;
    now.cursor = id;
    this.#keep(data.operation_id, now);
    return true;
  }

  /** @param {Ending | LostEnding} data */
  #lose(data) {
    const known = this.#operations.get(data.operation_id) ?? fresh(this.#epoch);
    if (known.ending?.data.outcome === 'lost') return false;
    known.ending = { seq: this.#seq, id: null, data };
    this.#keep(data.operation_id, known);
    return true;
  }

  /**
   * @param {Cursor} id
   * @param {number | undefined} last the place of the newest of its kind that is known
   */
  #isNews(id, last) {
    const { epoch, seq } = parseCursor(id);
    const before = epoch === this.#epoch ? this.#seq : 0;
    const isNews = last === undefined ? this.#restating || seq > before : seq > last;
    return this.#reach(id) && isNews;
  }

  /**
   * Moves the cursor on; never back. False where the cursor is of a history that is lost.
   * @param {Cursor} id
   */
  #reach(id) {
    if (this.#isPast(id)) return false;
    const { epoch, seq } = parseCursor(id);
    if (!this.#isBefore(id) && this.#cursor !== null) return true;
    if (epoch !== this.#epoch && this.#cursor !== null) this.#pastEpochs.add(this.#epoch);
    this.#cursor = id;
    this.#epoch = epoch;
    this.#seq = seq;
    return true;
  }

  /** @param {Cursor} id */
  #isBefore(id) {
    const { epoch, seq } = parseCursor(id);
    return epoch !== this.#epoch || seq > this.#seq;
  }

  /** @param {Cursor} id */
  #isPast(id) {
    return this.#pastEpochs.has(parseCursor(id).epoch);
  }

  /**
   * What is known of the operation in this epoch: what was known before history was lost is superseded.
   * @param {string} operationId
   * @param {string} epoch
   */
  #current(operationId, epoch) {
    const known = this.#operations.get(operationId);
    return known?.epoch === epoch ? known : undefined;
  }

  /**
   * @param {string} operationId
   * @param {Known} known
   */
  #keep(operationId, known) {
    known.view = null;
    // Those that ended are in the order of their endings.
    if (known.ending) this.#operations.delete(operationId);
    this.#operations.set(operationId, known);
    if (!known.ending) return;
    const ended = [...this.#operations].filter(([, it]) => it.ending);
    for (const [oldest] of ended.slice(0, -ENDED_KEPT)) this.#operations.delete(oldest);
  }

  #ofThisEpoch() {
    return [...this.#operations.values()].filter((known) => known.epoch === this.#epoch);
  }
}

/**
 * The newest event of each step, and the endings, in order.
 * @param {Known[]} operations
 * @returns {ProgressMessage[]}
 */
function messages(operations) {
  /** @type {{seq: number, message: ProgressMessage}[]} */
  const placed = [];
  for (const { steps, ending } of operations) {
    for (const { seq, id, data } of steps.values()) {
      placed.push({ seq, message: { event: 'progress', id, data } });
    }
    if (ending) placed.push({ seq: ending.seq, message: { event: 'operation', id: ending.id, data: ending.data } });
  }
  return placed.sort((a, b) => a.seq - b.seq).map(({ message }) => message);
}

/**
 * @param {string} epoch
 * @returns {Known}
 */
function fresh(epoch) {
  return { epoch, cursor: null, steps: new Map(), ending: null, endedAt: 0, view: null };
}

/**
 * @param {string} operationId
 * @param {Known} known
 * @returns {OperationState}
 */
function view(operationId, known) {
  const steps = [...known.steps.values()].map(({ data }) => data);
  const sum = steps.reduce((total, step) => total + (step.progress ?? 0), 0);
  const outcome = known.ending?.data.outcome ?? null;
  const mean = steps.length ? Math.floor(sum / steps.length) : null;
  return Object.freeze({
    operation_id: operationId,
    outcome,
    progress: known.ending?.data.progress ?? mean,
    steps: Object.freeze(steps),
    cursor: known.cursor,
  });
}
