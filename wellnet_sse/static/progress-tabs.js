// One connection a browser: the tab that holds the lock leads, the others listen to it on a channel. The lock of
// a tab that dies goes to the next one. Without Web Locks or BroadcastChannel every tab leads itself.

/**
 * @import {ConnectionStatus, Environment, ProgressMessage} from './progress-client.js'
 * @import {Snapshot} from './progress-history.js'
 *
 * @typedef {{type: 'hello'} | {type: 'there?'} | {type: 'reconnect'}} Question
 * @typedef {{type: 'state', snapshot: Snapshot, status: ConnectionStatus}
 *   | {type: 'message', message: ProgressMessage}
 *   | {type: 'status', status: ConnectionStatus}} Word what the leader says
 */

export class Tabs {
  #env;
  #name;
  #answerMs;
  #everyMs;
  #onLead;
  #onFollow;
  #onReconnect;
  #onTold;
  #describe;
  /** @type {BroadcastChannel | null} */
  #channel = null;
  #membership = new AbortController();
  #leads = false;
  #isIn = false;
  #isInStep = false;
  /** @type {() => void} */
  #release = () => {};
  /** @type {unknown} */
  #patience = null;
  /** @type {unknown} */
  #asking = null;

  /**
   * @param {{
   *   env: Environment, name: string, answerMs: number, everyMs: number, onLead: () => void,
   *   onFollow: () => void, onReconnect: () => void, onTold: (word: Word) => void,
   *   describe: () => {snapshot: Snapshot, status: ConnectionStatus},
   * }} parts `everyMs`: how often a tab that follows makes sure that it is led; longer than `answerMs`
   */
  constructor({ env, name, answerMs, everyMs, onLead, onFollow, onReconnect, onTold, describe }) {
    this.#env = env;
    this.#name = name;
    this.#answerMs = answerMs;
    this.#everyMs = everyMs;
    this.#onLead = onLead;
    this.#onFollow = onFollow;
    this.#onReconnect = onReconnect;
    this.#onTold = onTold;
    this.#describe = describe;
  }

  get leads() {
    return this.#leads;
  }

  join() {
    const { BroadcastChannel, locks, window } = this.#env;
    this.#isIn = true;
    if (!BroadcastChannel || !locks) return this.#lead();
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#listen(data);
    window?.document?.addEventListener('visibilitychange', this.#greet);
    window?.addEventListener('pageshow', this.#greet);
    this.#asking = this.#env.setInterval(() => this.#ask('there?'), this.#everyMs);
    this.#queue();
    this.#greet();
  }

  leave() {
    const { window } = this.#env;
    this.#isIn = this.#leads = this.#isInStep = false;
    window?.document?.removeEventListener('visibilitychange', this.#greet);
    window?.removeEventListener('pageshow', this.#greet);
    this.#env.clearInterval(this.#asking);
    this.#env.clearTimeout(this.#patience);
    this.#membership.abort();
    this.#release();
    this.#channel?.close();
    this.#channel = null;
  }

  /**
   * Tells the tabs that follow this one.
   * @param {Word} word
   */
  tell(word) {
    if (this.#leads) this.#channel?.postMessage(word);
  }

  askToReconnect() {
    this.#channel?.postMessage({ type: 'reconnect' });
  }

  /** Asks whoever leads for the state. */
  #greet = () => this.#ask('hello');

  /**
   * A leader that is frozen, or held by a dialog, does not answer and is replaced.
   * @param {'hello' | 'there?'} type
   */
  #ask(type) {
    if (this.#leads || this.#env.window?.document?.visibilityState === 'hidden') return;
    this.#channel?.postMessage({ type });
    this.#env.clearTimeout(this.#patience);
    this.#patience = this.#env.setTimeout(() => this.#queue({ steal: true }), this.#answerMs);
  }

  /** @param {Word | Question} message */
  #listen(message) {
    switch (message.type) {
      case 'hello':
        return this.tell({ type: 'state', ...this.#describe() });
      case 'there?':
        return this.tell({ type: 'status', status: this.#describe().status });
      case 'reconnect':
        if (this.#leads) this.#onReconnect();
        return;
    }
    if (this.#leads) return; // a late word of a leader that was replaced
    this.#env.clearTimeout(this.#patience);
    if (message.type === 'state') this.#isInStep = true;
    // Before the state, a message would move the cursor past what this tab has not seen.
    if (this.#isInStep) this.#onTold(message);
  }

  /** @param {{steal?: boolean}} [options] */
  async #queue({ steal = false } = {}) {
    this.#membership.abort();
    const membership = (this.#membership = new AbortController());
    const { locks } = this.#env;
    const options = steal ? { steal } : { signal: membership.signal };
    /** @type {() => void} */
    let release = () => {};
    const held = new Promise((resolve) => {
      release = () => resolve(undefined);
    });
    try {
      await locks?.request(this.#name, options, () => {
        if (!this.#isIn || membership.signal.aborted) return undefined;
        this.#release = release;
        this.#lead();
        return held;
      });
    } catch (error) {
      if (membership.signal.aborted) return; // it left the queue
      if (/** @type {Error} */ (error).name !== 'AbortError') {
        console.warn('progress: no lock to be had, this tab follows by itself:', error);
        return this.#lead();
      }
      // Its lock was stolen, because it seemed frozen.
      this.#leads = this.#isInStep = false;
      this.#onFollow();
      this.#queue();
      this.#greet();
    }
  }

  #lead() {
    this.#leads = true;
    this.#env.clearTimeout(this.#patience);
    this.#onLead();
    this.tell({ type: 'state', ...this.#describe() });
  }
}
