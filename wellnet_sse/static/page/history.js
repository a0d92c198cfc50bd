// The day's history: what has run since midnight, read when somebody unfolds it.

import { title } from './card.js';
import { Icon, byId, make, say } from './dom.js';
import { connectionOf } from './operations.js';
import { read } from './reading.js';
import { OUTCOMES, clockTime, duration, percent } from './wording.js';

/**
 * @import {Outcome} from '../progress-client.js'
 * @import {Operations} from './operations.js'
 *
 * @typedef {{operation_id: string, outcome: Outcome | null, progress: number | null, started_at: string,
 *   finished_at: string | null}} Past
 */

const PAGE = 20;
const MOST_AT_ONCE = 100;
const SETTLE_MS = 500;

export class DayHistory {
  #userId;
  #operations;
  #details = byId('historial', HTMLDetailsElement);
  #list = byId('historial-lista', HTMLOListElement);
  #note = byId('historial-nota', HTMLElement);
  #more = byId('historial-mas', HTMLButtonElement);
  /** @type {string | null} */
  #next = null;
  #timer = 0;

  /**
   * @param {string} userId
   * @param {Operations} operations
   */
  constructor(userId, operations) {
    this.#userId = userId;
    this.#operations = operations;
    this.#details.addEventListener('toggle', () => {
      if (this.#details.open) this.#read();
    });
    this.#more.addEventListener('click', () => this.#readOn());
    operations.addEventListener('changed', (event) => {
      const { data } = /** @type {MessageEvent} */ (event);
      if (!this.#details.open || data.endedAt === null) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#read(), SETTLE_MS);
    });
  }

  async #read() {
    // As many as are there: what somebody has unfolded stays so.
    const limit = Math.min(MOST_AT_ONCE, Math.max(PAGE, this.#list.childElementCount));
    await this.#load(`/api/operaciones?limit=${limit}`, (items) => this.#list.replaceChildren(...items));
  }

  async #readOn() {
    if (this.#next !== null) await this.#load(this.#next, (items) => this.#list.append(...items));
  }

  /**
   * @param {string} path
   * @param {(items: HTMLElement[]) => void} put
   */
  async #load(path, put) {
    try {
      const { operations, next } = await read(path, { userId: this.#userId });
      const midnight = new Date(this.#operations.now()).setHours(0, 0, 0, 0);
      /** @param {Past} past */
      const isOfToday = ({ finished_at }) => finished_at === null || Date.parse(finished_at) >= midnight;
      const today = operations.filter(isOfToday);
      put(today.map(item));
      this.#next = today.length === operations.length ? next : null;
      say(this.#note, this.#list.childElementCount ? '' : 'Todavía no hay operaciones hoy.');
    } catch (error) {
      say(this.#note, `No se pudo leer el historial: ${error instanceof Error ? error.message : error}`);
    }
    this.#more.hidden = this.#next === null;
  }
}

/** @param {Past} past */
function item({ operation_id, outcome, progress, started_at, finished_at }) {
  const at = Date.parse(started_at);
  const icon = new Icon();
  icon.show(outcome ?? 'in_progress');
  const lasted = finished_at === null ? percent(progress) : duration(Date.parse(finished_at) - at);
  return make(
    'li',
    { 'data-phase': outcome ?? 'running' },
    icon.element,
    make('span', { class: 'past-name' }, title({ idConexion: connectionOf(operation_id), operationId: operation_id })),
    make('span', { class: 'past-outcome' }, outcome === null ? 'En curso' : OUTCOMES[outcome].name),
    make('time', { class: 'detail', datetime: started_at }, clockTime(at)),
    make('span', { class: 'detail' }, lasted),
  );
}
