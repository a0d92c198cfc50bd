// One operation as a card: its steps, its bar, its times, and what can be done about it.

import { Bar, Icon, make, say } from './dom.js';
import { cleanupOf, isRunning, progressOf } from './operations.js';
import { OUTCOMES, STATUSES, beforeMessage, duration, inWords, percent, stepName, timeLeft } from './wording.js';

/**
 * @import {StepProgress} from '../progress-client.js'
 * @import {Entry} from './operations.js'
 *
 * @typedef {{cancel: (entry: Entry) => void, retry: (entry: Entry) => void, again: (entry: Entry) => void,
 *   close: (entry: Entry) => void}} Actions
 */

/** Outcomes after which the same operation may be tried again. */
const RETRIED = ['failed', 'interrupted', 'expired', 'lost'];

/** What an entry is at, as one word: an outcome, or a word of the page's own. @param {Entry} entry */
export function phase({ state, sending, withdrawn, cancelling, refusal }) {
  if (refusal !== null) return 'refused';
  if (withdrawn) return 'withdrawn';
  if (sending || state === null) return 'sending';
  if (state.outcome !== null) return state.outcome;
  return cancelling ? 'cancelling' : 'running';
}

/** @type {Record<string, string>} */
const PHASES = {
  refused: 'No aceptada',
  withdrawn: 'Retirada',
  sending: 'Enviando…',
  running: 'En curso',
  cancelling: 'Cancelando…',
};

/** @param {string} phase */
export const phaseName = (phase) => PHASES[phase] ?? OUTCOMES[/** @type {keyof typeof OUTCOMES} */ (phase)].name;

/** @param {Pick<Entry, 'idConexion' | 'operationId'>} entry */
export function title({ idConexion, operationId }) {
  if (idConexion !== null) return `Conexión ${idConexion}`;
  const cleanup = cleanupOf(operationId);
  return cleanup === null ? operationId : `Limpieza de router n.º ${cleanup}`;
}

export class Card {
  #entry;
  #title = make('h3', { tabindex: '-1' });
  #phase = make('span', { class: 'pill' });
  #bar;
  #percent = make('span', { class: 'number' });
  #steps = make('ol', { class: 'steps' });
  /** @type {Map<string, StepLine>} */
  #lines = new Map();
  #note = make('p', { class: 'note' });
  #time = make('span', { class: 'time' });
  #lasts = '';
  #buttons;
  element;

  /**
   * @param {Entry} entry
   * @param {Actions} actions
   */
  constructor(entry, actions) {
    this.#entry = entry;
    const name = title(entry);
    say(this.#title, name);
    this.#title.id = `titulo-${entry.operationId}`;
    this.#bar = new Bar(`${name}: avance total`);
    /** @param {string} text @param {(entry: Entry) => void} act @param {string} [kind] */
    const button = (text, act, kind = 'quiet') => {
      const label = `${text}: ${name}`;
      return make('button', { type: 'button', class: kind, 'aria-label': label, onclick: () => act(entry) }, text);
    };
    this.#buttons = {
      cancel: button('Cancelar', actions.cancel),
      retry: button('Reintentar', actions.retry, 'strong'),
      again: button('Empezar de nuevo', actions.again, 'strong'),
      close: button('Cerrar', actions.close),
    };
    this.element = make(
      'article',
      { class: 'card', 'aria-labelledby': this.#title.id },
      make('div', { class: 'card-head' }, this.#title, this.#phase),
      make('div', { class: 'total' }, this.#bar.element, this.#percent),
      this.#steps,
      this.#note,
      make('div', { class: 'card-foot' }, this.#time, ...Object.values(this.#buttons)),
    );
  }

  /**
   * Shows the entry as it is now.
   * @param {{now: number, isLive: boolean}} moment the server's time, and whether what is known is up to date
   */
  show({ now, isLive }) {
    const entry = this.#entry;
    const { state } = entry;
    const at = phase(entry);
    const progress = progressOf(entry);
    this.element.dataset['phase'] = at;
    this.element.classList.toggle('stale', isRunning(entry) && !isLive);
    say(this.#phase, phaseName(at));
    this.#bar.show(progress);
    say(this.#percent, percent(progress));
    for (const step of state?.steps ?? []) {
      this.#line(step.step).show(step, { at, isStalled: isLive && entry.stalled.includes(step.step) });
    }
    say(this.#note, this.#explanation(at, isLive));
    this.showTime({ now, isLive });
    this.#showButtons(at);
  }

  /** @param {{now: number, isLive: boolean}} moment */
  showTime({ now, isLive }) {
    const { startedAt, endedAt, estimate } = this.#entry;
    if (startedAt === null) return say(this.#time, '');
    if (endedAt !== null) return say(this.#time, `Duró ${duration(endedAt - startedAt)}`);
    // Without news nobody knows whether it still runs: the time stands still as the bars do, and nothing is foreseen.
    if (isLive) this.#lasts = `Lleva ${duration(now - startedAt)}`;
    const left = isLive && estimate ? timeLeft(estimate, now) : null;
    say(this.#time, [this.#lasts, left].filter(Boolean).join(' · '));
  }

  focus() {
    this.#title.focus();
  }

  /** @param {string} name */
  #line(name) {
    let line = this.#lines.get(name);
    if (!line) {
      line = new StepLine(name, title(this.#entry));
      this.#lines.set(name, line);
      this.#steps.append(line.element);
    }
    return line;
  }

  /**
   * @param {string} at
   * @param {boolean} isLive
   */
  #explanation(at, isLive) {
    const { refusal } = this.#entry;
    if (refusal !== null) return refusal;
    if (at === 'withdrawn') return 'La orden ya no se envía. Si aun así había llegado al servidor, aquí se verá.';
    if (at === 'sending') {
      return isLive ? 'Enviando la orden al servidor…' : 'La orden se enviará en cuanto el servidor responda.';
    }
    if (at === 'cancelling') return 'El paso en curso termina; después no empieza ninguno más.';
    const isCleanup = cleanupOf(this.#entry.operationId) !== null;
    if (at === 'running') return isCleanup ? 'El servidor termina por sí mismo lo que quedó en un router.' : '';
    const { meaning } = OUTCOMES[/** @type {keyof typeof OUTCOMES} */ (at)];
    if (at !== 'failed') return meaning;
    if (isCleanup) return `${meaning} El servidor lo intentará de nuevo.`;
    return this.#entry.idConexion === null ? meaning : `${meaning} Al reintentar se salta lo que ya está hecho.`;
  }

  /** @param {string} at */
  #showButtons(at) {
    const ours = this.#entry.idConexion !== null;
    const shown = {
      cancel: at === 'running' || this.#entry.sending,
      retry: ours && (RETRIED.includes(at) || at === 'refused' || at === 'withdrawn'),
      again: ours && at === 'cancelled',
      close: !isRunning(this.#entry),
    };
    const focused = document.activeElement;
    for (const [name, button] of Object.entries(this.#buttons)) {
      button.hidden = !shown[/** @type {keyof typeof shown} */ (name)];
    }
    // Whoever stood on a button that is gone stays with the card.
    if (focused instanceof HTMLElement && focused.hidden && this.element.contains(focused)) this.focus();
  }
}

class StepLine {
  #icon = new Icon();
  #status = make('span', { class: 'unseen' });
  #message = make('span', { class: 'message' });
  #stalled = make('span', { class: 'stalled' });
  #percent = make('span', { class: 'number' });
  #bar;
  element;

  /**
   * @param {string} step
   * @param {string} operation
   */
  constructor(step, operation) {
    this.#bar = new Bar(`${operation}: ${stepName(step)}`);
    const name = make('span', { class: 'step-name' }, stepName(step));
    const words = make('div', { class: 'words' }, name, this.#status, this.#message, this.#stalled);
    this.element = make('li', {}, this.#icon.element, words, this.#percent, this.#bar.element);
  }

  /**
   * @param {StepProgress} step
   * @param {{at: string, isStalled: boolean}} situation what the whole operation is at; whether the step is silent for
   *   longer than usual
   */
  show({ step, status, message, progress }, { at, isStalled }) {
    const isInterrupted = status === 'error' && at === 'interrupted';
    const look = isInterrupted ? 'interrupted' : status;
    const word = isInterrupted ? 'Interrumpido' : STATUSES[status];
    this.element.dataset['status'] = look;
    this.#icon.show(look);
    say(this.#status, beforeMessage(word, message));
    say(this.#message, inWords(step, message));
    say(this.#stalled, isStalled ? 'Sin noticias desde hace más de lo habitual' : '');
    say(this.#percent, percent(progress));
    this.#bar.show(progress);
  }
}
