// The cards of all operations, the newest first; the line at the foot of a small screen; and what is read out.

import { Card, phase, phaseName, title } from './card.js';
import { byId, make, say } from './dom.js';
import { isRunning, progressOf } from './operations.js';
import { STATUSES, beforeMessage, inWords, percent, stepName } from './wording.js';

/**
 * @import {ProgressClient} from '../progress-client.js'
 * @import {Entry, Operations} from './operations.js'
 */

const SECOND_MS = 1000;
/** Of the cards of what has ended, so many stay. */
const ENDED_SHOWN = 20;

export class Board {
  #client;
  #operations;
  /** @type {Map<string, Card>} */
  #cards = new Map();
  #place = byId('tarjetas', HTMLElement);
  #empty = byId('operaciones-vacio', HTMLElement);
  #dock = byId('muelle', HTMLAnchorElement);
  #said;

  /**
   * @param {ProgressClient} client
   * @param {Operations} operations
   */
  constructor(client, operations) {
    this.#client = client;
    this.#operations = operations;
    this.#said = new Announcer(byId('anuncios', HTMLElement));
    operations.addEventListener('changed', (event) => this.#show(/** @type {MessageEvent<Entry>} */ (event).data));
    operations.addEventListener('forgotten', (event) => this.#drop(/** @type {MessageEvent<Entry>} */ (event).data));
    operations.addEventListener('refused', (event) => {
      const { entry, message } = /** @type {MessageEvent<{entry: Entry, message: string}>} */ (event).data;
      this.#said.say(`${title(entry)}: ${message}`);
    });
    client.addEventListener('connection', () => this.#showAll());
    setInterval(() => this.#showTimes(), SECOND_MS);
    // Over the cards themselves, the line would only cover what it sums up.
    new IntersectionObserver(([seen]) => {
      this.#dock.classList.toggle('idle', seen?.isIntersecting);
    }).observe(this.#place);
  }

  /** @param {Entry} entry */
  focus(entry) {
    this.#cards.get(entry.operationId)?.focus();
  }

  /** @param {Entry} entry */
  #show(entry) {
    let card = this.#cards.get(entry.operationId);
    if (!card) {
      card = new Card(entry, {
        cancel: (it) => this.#operations.cancel(it),
        retry: (it) => this.#operations.retry(it),
        again: (it) => {
          if (it.idConexion === null) return;
          const operationId = this.#operations.remove(it.idConexion);
          this.#cards.get(operationId)?.focus();
          this.#operations.forget(it);
        },
        close: (it) => {
          this.#operations.forget(it);
          byId('operaciones', HTMLElement).focus();
        },
      });
      this.#cards.set(entry.operationId, card);
      this.#place.prepend(card.element);
      byId('lado', HTMLElement).scrollTop = 0;
      this.#trim();
    }
    card.show(this.#moment());
    this.#said.follow(entry, this.#isLive());
    this.#summarize();
  }

  #showAll() {
    for (const operationId of this.#cards.keys()) {
      const entry = this.#operations.entry(operationId);
      if (entry) this.#show(entry);
    }
  }

  #showTimes() {
    for (const entry of this.#operations.running()) this.#cards.get(entry.operationId)?.showTime(this.#moment());
  }

  /** @param {Entry} entry */
  #drop(entry) {
    this.#cards.get(entry.operationId)?.element.remove();
    this.#cards.delete(entry.operationId);
    this.#said.forget(entry);
    this.#summarize();
  }

  #trim() {
    const ended = [...this.#cards.keys()]
      .map((operationId) => this.#operations.entry(operationId))
      .filter((entry) => entry !== null && !isRunning(entry));
    for (const entry of ended.slice(0, -ENDED_SHOWN)) if (entry) this.#operations.forget(entry);
  }

  #summarize() {
    this.#empty.hidden = this.#cards.size > 0;
    const running = this.#operations.running();
    this.#dock.hidden = running.length === 0;
    const known = running.map(progressOf).filter((progress) => progress !== null);
    const sum = known.reduce((total, progress) => total + progress, 0);
    const mean = percent(known.length ? Math.floor(sum / known.length) : null);
    const count = running.length === 1 ? '1 operación' : `${running.length} operaciones`;
    say(this.#dock, [`${count} en curso`, mean].filter(Boolean).join(' · '));
    document.title = mean ? `(${mean}) Conexiones · WellNet` : 'Conexiones · WellNet';
  }

  #isLive() {
    return this.#client.connection.state === 'live';
  }

  #moment() {
    return { now: this.#operations.now(), isLive: this.#isLive() };
  }
}

/** Reads out what changes of status there are while it is watched: every percent would be a torrent. */
class Announcer {
  #log;
  /** @type {Map<string, Map<string, string>>} what was last noted of each operation, and of its steps */
  #noted = new Map();

  /** @param {HTMLElement} log */
  constructor(log) {
    this.#log = log;
  }

  /**
   * @param {Entry} entry
   * @param {boolean} isLive what comes before is not news
   */
  follow(entry, isLive) {
    const at = phase(entry);
    for (const { step, status, message } of entry.state?.steps ?? []) {
      if (!this.#notes(entry, `step ${step}`, status) || !isLive) continue;
      if (status === 'completed' || status === 'error') {
        const word = STATUSES[status];
        const told = status === 'error' ? `${beforeMessage(word, message)}${inWords(step, message)}` : word;
        this.say(`${title(entry)}, ${stepName(step)}: ${told}`);
      }
    }
    if (this.#notes(entry, 'phase', at) && isLive && at !== 'sending') this.say(`${title(entry)}: ${phaseName(at)}`);
  }

  /** @param {string} text */
  say(text) {
    this.#log.append(make('span', {}, `${text}\n`));
    while (this.#log.childElementCount > 10) this.#log.firstElementChild?.remove();
  }

  /** @param {Entry} entry */
  forget({ operationId }) {
    this.#noted.delete(operationId);
  }

  /**
   * @param {Entry} entry
   * @param {string} key
   * @param {string} value
   */
  #notes({ operationId }, key, value) {
    const noted = this.#noted.get(operationId) ?? new Map();
    if (noted.get(key) === value) return false;
    this.#noted.set(operationId, noted.set(key, value));
    return true;
  }
}
