// The list of connections: page by page, searched at the server, each with the button that removes it.

import { phase } from './card.js';
import { Bar, byId, make, say } from './dom.js';
import { cleanupOf, isRunning } from './operations.js';
import { read } from './reading.js';
import { percent } from './wording.js';

/**
 * @import {Entry, Operations} from './operations.js'
 *
 * @typedef {{id_conexion: number, direccion_ip: string, id_usuario: number, router: string, servicios: string[],
 *   configurada: boolean, limpieza_pendiente: boolean}} Connection
 */

const PAGE = 25;
const TYPING_MS = 250;
/** How often it is looked whether routers that could not be cleaned have been: nobody tells of another's clean-up. */
const PENDING_MS = 15_000;
/** The server forgets a clean-up just after it has told that it is done. */
const SETTLE_MS = 500;

export class Connections {
  #userId;
  #operations;
  #onWatch;
  #list = byId('conexiones', HTMLUListElement);
  #note = byId('conexiones-nota', HTMLElement);
  #more = byId('conexiones-mas', HTMLButtonElement);
  #search = byId('buscar', HTMLInputElement);
  /** @type {Map<number, Row>} */
  #rows = new Map();
  /** @type {string | null} */
  #next = null;
  #reading = new AbortController();

  /**
   * @param {string} userId
   * @param {Operations} operations
   * @param {(entry: Entry) => void} onWatch somebody wants to see the operation of a connection
   */
  constructor(userId, operations, onWatch) {
    this.#userId = userId;
    this.#operations = operations;
    this.#onWatch = onWatch;
    this.#more.addEventListener('click', () => this.#readOn());
    let timer = 0;
    this.#search.addEventListener('input', () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.read(), TYPING_MS);
    });
    for (const type of ['changed', 'forgotten']) {
      operations.addEventListener(type, (event) => this.#hear(/** @type {MessageEvent<Entry>} */ (event).data));
    }
    setInterval(() => this.#refreshPending(), PENDING_MS);
  }

  /** Reads the first page anew. */
  async read() {
    const search = this.#search.value.trim();
    const query = new URLSearchParams({ limit: String(PAGE), ...(search && { buscar: search }) });
    this.#reading.abort();
    this.#reading = new AbortController();
    await this.#load(`/api/conexiones?${query}`, { anew: true });
  }

  async #readOn() {
    if (this.#next === null) return;
    const last = [...this.#rows.values()].at(-1);
    await this.#load(this.#next, { anew: false });
    // Where the button was there may be none any more: go on with what is new.
    if (this.#more.hidden) last?.focusNext();
  }

  /**
   * @param {string} path
   * @param {{anew: boolean}} options
   */
  async #load(path, { anew }) {
    const { signal } = this.#reading;
    this.#more.disabled = true;
    try {
      const { conexiones, next } = await read(path, { userId: this.#userId, signal });
      if (signal.aborted) return;
      if (anew) this.#clear();
      this.#next = next;
      for (const connection of conexiones) this.#add(connection);
      say(this.#note, this.#rows.size === 0 ? 'Ninguna conexión coincide.' : '');
    } catch (error) {
      if (signal.aborted) return;
      say(this.#note, `No se pudo leer la lista: ${error instanceof Error ? error.message : error}`);
    }
    this.#more.disabled = false;
    this.#more.hidden = this.#next === null;
  }

  /** Whether the list could not be read yet. */
  get isEmpty() {
    return this.#rows.size === 0;
  }

  #clear() {
    this.#rows.clear();
    this.#list.replaceChildren();
  }

  /** @param {Connection} connection */
  #add(connection) {
    const row = new Row(connection, {
      remove: () => {
        const { id_conexion, direccion_ip } = connection;
        if (confirm(`¿Eliminar la conexión ${id_conexion} (${direccion_ip})?\nNo se puede deshacer.`)) {
          this.#operations.remove(id_conexion);
        }
      },
      watch: () => {
        const entry = this.#operations.ofConnection(connection.id_conexion);
        if (entry) this.#onWatch(entry);
      },
    });
    this.#rows.set(connection.id_conexion, row);
    this.#list.append(row.element);
    row.show(this.#operations.ofConnection(connection.id_conexion));
  }

  /** @param {Entry} entry */
  #hear({ idConexion, operationId, endedAt }) {
    if (cleanupOf(operationId) !== null && endedAt !== null) setTimeout(() => this.#refreshPending(), SETTLE_MS);
    const row = idConexion === null ? undefined : this.#rows.get(idConexion);
    if (!row || idConexion === null) return;
    if (row.show(this.#operations.ofConnection(idConexion))) this.#refresh(idConexion);
  }

  #refreshPending() {
    if (document.visibilityState === 'hidden') return;
    for (const [idConexion, row] of this.#rows) if (row.isPending) this.#refresh(idConexion);
  }

  /** What is left of a connection after an attempt is the server's to say. @param {number} idConexion */
  async #refresh(idConexion) {
    try {
      const path = `/api/conexiones?limit=1&after=${idConexion - 1}`;
      const { conexiones } = await read(path, { userId: this.#userId });
      this.#rows.get(idConexion)?.update(conexiones[0], this.#operations.ofConnection(idConexion));
    } catch {
      // The row stays as it was read before; its operation's card tells the rest.
    }
  }
}

class Row {
  #connection;
  #wasRunning = false;
  #name = make('h2', { class: 'row-name', tabindex: '-1' });
  #state = make('span', { class: 'pill' });
  #service = make('span', { class: 'row-service' });
  #button = make('button', { type: 'button' });
  #bar;
  element;

  /**
   * @param {Connection} connection
   * @param {{remove: () => void, watch: () => void}} actions
   */
  constructor(connection, actions) {
    this.#connection = connection;
    const { id_conexion, direccion_ip, id_usuario, router } = connection;
    say(this.#name, `Conexión ${id_conexion}`);
    this.#bar = new Bar(`Conexión ${id_conexion}: avance`);
    this.#bar.element.hidden = true;
    this.#button.addEventListener('click', () => (this.#wasRunning ? actions.watch() : actions.remove()));
    this.element = make(
      'li',
      { class: 'row' },
      make('div', { class: 'row-title' }, this.#name, make('span', { class: 'detail' }, `Cliente ${id_usuario}`)),
      make('div', { class: 'row-address' }, make('code', {}, direccion_ip), make('span', { class: 'detail' }, router)),
      this.#service,
      make('div', { class: 'row-state' }, this.#state),
      make('div', { class: 'row-action' }, this.#button),
      this.#bar.element,
    );
  }

  /** Whether something of it may still stand in its router. */
  get isPending() {
    return this.#connection.limpieza_pendiente;
  }

  /**
   * @param {Connection | undefined} connection
   * @param {Entry | null} entry
   */
  update(connection, entry) {
    if (connection?.id_conexion !== this.#connection.id_conexion) return;
    this.#connection = connection;
    this.show(entry);
  }

  /**
   * Shows the connection, and its operation where there is one. Whether an operation of it has just ended.
   * @param {Entry | null} entry
   */
  show(entry) {
    const { id_conexion, servicios, configurada, limpieza_pendiente } = this.#connection;
    const runs = entry !== null && isRunning(entry);
    const hasEnded = this.#wasRunning && !runs;
    this.#wasRunning = runs;
    const isGone = servicios.length === 0 && !configurada;
    const [look, text] = runs
      ? ['running', phase(entry) === 'sending' ? 'Enviando…' : `Eliminando · ${percent(entry.state?.progress ?? 0)}`]
      : limpieza_pendiente
        ? ['pending', 'Router pendiente']
        : isGone
          ? ['gone', 'Eliminada']
          : servicios.length === 0
            ? ['partial', 'A medias']
            : ['active', 'Activa'];
    this.element.dataset['look'] = look;
    say(this.#state, text);
    say(this.#service, servicios.join(', ') || (isGone ? '' : 'Sin servicio'));
    this.#bar.element.hidden = !runs;
    if (runs) this.#bar.show(entry.state?.progress ?? 0);
    say(this.#button, runs ? 'Ver progreso' : 'Eliminar');
    this.#button.setAttribute('aria-label', `${this.#button.textContent}: conexión ${id_conexion}`);
    this.#button.className = runs ? 'quiet' : 'danger';
    const isNeeded = runs || !isGone || limpieza_pendiente;
    if (!isNeeded && document.activeElement === this.#button) this.#name.focus();
    this.#button.hidden = !isNeeded;
    return hasEnded;
  }

  focusNext() {
    const next = this.element.nextElementSibling?.querySelector('h2');
    if (next instanceof HTMLElement) next.focus();
  }
}
