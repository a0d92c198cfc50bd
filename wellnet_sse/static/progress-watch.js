// What `watch` and `watchAll` hand out: an EventTarget and an async iterator over the same messages.

/**
 * @import {Ending, LostEnding, ProgressMessage, WatchMessage} from './progress-client.js'
 */

/** Listens to one operation (`operationId`), or to all of the user's (null). */
export class Watch extends EventTarget {
  /** @type {string | null} */
  operationId;
  /** @type {Promise<Ending | LostEnding | null>} */
  ended;
  #untilEnd;
  #onClose;
  #isClosed = false;
  /** @type {(ending: Ending | LostEnding | null) => void} */
  #resolveEnded = () => {};
  /** @type {Set<{messages: WatchMessage[], wake: () => void}>} */
  #iterators = new Set();

  /**
   * @param {string | null} operationId
   * @param {{untilEnd: boolean, onClose: (watch: Watch) => void}} options
   */
  constructor(operationId, { untilEnd, onClose }) {
    super();
    this.operationId = operationId;
    this.#untilEnd = operationId !== null && untilEnd;
    this.#onClose = onClose;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  get closed() {
    return this.#isClosed;
  }

  /**
   * Hands on what is for this watch. Called by the client alone.
   * @param {ProgressMessage} message
   */
  deliver(message) {
    if (this.#isClosed) return;
    const isOfOperation = message.event === 'progress' || message.event === 'operation';
    if (isOfOperation && this.operationId !== null && message.data.operation_id !== this.operationId) return;
    const isEnd = message.event === 'operation' && this.#untilEnd;
    /** @type {WatchMessage} */
    const told = isEnd ? { ...message, event: 'end' } : message;
    for (const iterator of this.#iterators) {
      iterator.messages.push(told);
      iterator.wake();
    }
    this.dispatchEvent(new MessageEvent(told.event, { data: told.data, lastEventId: told.id ?? '' }));
    if (told.event === 'end') this.#finish(told.data);
  }

  close() {
    if (!this.#isClosed) this.#finish(null);
  }

  /** @param {Ending | LostEnding | null} ending */
  #finish(ending) {
    this.#isClosed = true;
    for (const { wake } of this.#iterators) wake();
    this.#resolveEnded(ending);
    this.#onClose(this);
  }

  /** @returns {AsyncGenerator<WatchMessage, void, void>} */
  [Symbol.asyncIterator]() {
    // Collects from now on, not from the first `next`.
    const iterator = { messages: /** @type {WatchMessage[]} */ ([]), wake: () => {} };
    this.#iterators.add(iterator);
    return this.#iterate(iterator);
  }

  /**
   * @param {{messages: WatchMessage[], wake: () => void}} iterator
   * @returns {AsyncGenerator<WatchMessage, void, void>}
   */
  async *#iterate(iterator) {
    try {
      while (true) {
        const message = iterator.messages.shift();
        if (message) yield message;
        else if (this.#isClosed) return;
        else {
          await new Promise((resolve) => {
            iterator.wake = () => resolve(undefined);
          });
        }
      }
    } finally {
      this.#iterators.delete(iterator);
      this.close();
    }
  }
}
