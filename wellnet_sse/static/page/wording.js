// What the page says: the words for states, steps and times, in one place.

/** @import {ConnectionStatus, OperationState, Status} from '../progress-client.js' */

/** @type {Record<string, string>} */
const STEPS = {
  'remove-service': 'Servicio',
  'remove-router': 'Router',
  'remove-config': 'Configuración',
};

/** @param {string} step */
export const stepName = (step) => STEPS[step] ?? step;

/** @type {Record<Status, string>} */
export const STATUSES = {
  pending: 'Pendiente',
  in_progress: 'En curso',
  completed: 'Completado',
  error: 'Error',
};

/**
 * What is put before a step's message for whoever cannot see its icon; a message may say it itself.
 * @param {string} status
 * @param {string} message
 */
export const beforeMessage = (status, message) => (message.startsWith(status) ? '' : `${status}: `);

/**
 * A step's message, in which the step has the name that it has here.
 * @param {string} step
 * @param {string} message
 */
export const inWords = (step, message) => message.replaceAll(`paso ${step}`, `paso ${stepName(step)}`);

/** @type {Record<NonNullable<OperationState['outcome']>, {name: string, meaning: string}>} */
export const OUTCOMES = {
  completed: { name: 'Completada', meaning: '' },
  failed: { name: 'Fallida', meaning: 'Un paso falló.' },
  interrupted: {
    name: 'Interrumpida',
    meaning: 'El trabajo se cortó a medias: lo que quedó en duda se dice en el paso.',
  },
  cancelled: { name: 'Cancelada', meaning: 'Se canceló a petición. Lo que ya estaba hecho no se deshace.' },
  expired: { name: 'Expirada', meaning: 'Nadie siguió trabajando en ella y se cerró por silencio.' },
  lost: { name: 'Desconocida', meaning: 'El servidor perdió su historial: no se sabe cómo terminó.' },
};

/**
 * What the dot at the top says.
 * @type {Record<ConnectionStatus['state'], string>}
 */
export const SIGNALS = {
  connecting: 'Conectando…',
  live: 'En vivo',
  offline: 'Sin red',
  reconnecting: 'Reconectando…',
  closed: 'Sin conectar',
};

/**
 * What to say about a connection that is not live; null where nothing needs saying.
 * @param {ConnectionStatus} status
 */
export function trouble({ state, reason }) {
  if (state === 'offline') return 'Sin red. El trabajo sigue en el servidor; al volver la red se verá cómo va.';
  if (state === 'closed') return reason === 'refused' ? 'El servidor no admite a este usuario, o su sesión terminó: entre de nuevo y reintente.' : null;
  // Without a reason it only makes sure: what is wrong is said a moment later.
  if (state !== 'reconnecting' || reason === null) return null;
  switch (reason) {
    case 'busy':
      return 'El servidor está ocupado o hay demasiadas ventanas abiertas de este usuario. Se reintenta solo.';
    case 'drain':
      return 'El servidor se está reiniciando. Lo que se ve es de antes del corte.';
    default:
      return 'Sin conexión con el servidor. Lo que se ve es de antes del corte; se reintenta solo.';
  }
}

const TIME = new Intl.DateTimeFormat('es', { hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** @param {number} ms since 1970 */
export const clockTime = (ms) => TIME.format(ms);

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1000) return 'menos de 1 s';
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds} s`;
  if (minutes < 60) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/**
 * How long it still takes; null where that is over already.
 * @param {{p50: number, p90: number}} estimate when it ends, one time in two and nine in ten
 * @param {number} now
 */
export function timeLeft({ p50, p90 }, now) {
  const [least, most] = [p50 - now, p90 - now];
  if (most <= 0) return null;
  const latest = duration(Math.max(1000, most));
  if (least < 1000) return `falta menos de ${latest}`;
  const soonest = duration(least);
  return soonest === latest ? `faltan unos ${latest}` : `faltan entre ${soonest} y ${latest}`;
}

/** @param {number | null} progress */
export const percent = (progress) => (progress === null ? '' : `${progress} %`);
