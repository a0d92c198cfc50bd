// The operator's page: asks the server every two seconds how everybody fares, as long as somebody looks.

import { title } from '../page/card.js';
import { byId, make, say } from '../page/dom.js';
import { enter } from '../page/login.js';
import { connectionOf } from '../page/operations.js';
import { read } from '../page/reading.js';
import { isDocumented } from '../page/session.js';
import { clockTime, duration, percent, stepName } from '../page/wording.js';
import { ProgressError } from '../progress-server.js';
import { Table } from './tables.js';

/**
 * @typedef {{userId: string, operation_id: string, progress: number | null, step: string | null,
 *   message: string | null, running: boolean, started_at: string, updated_at: string}} Operation
 * @typedef {{userId: string, operation_id: string | null, via: string, opened_at: string, waiting_events: number,
 *   waiting_bytes: number, skipped: number, stuck_seconds: number, slow: boolean}} Reader
 * @typedef {{userId: string | null, direccion_ip: string, escritura: string, intentos: number, creado: string,
 *   proximo_intento: string}} Cleanup
 * @typedef {Record<string, number | null>} Figures
 */

const PAUSE_MS = 2000;
/** @type {[name: string, text: string][]} */
const FIGURES = [
  ['activeConnections', 'Conexiones activas'],
  ['activeOperations', 'Operaciones activas'],
  ['messagesPerSecond', 'Mensajes por segundo'],
  ['errorsPerMinute', 'Errores por minuto'],
  ['latencyP50', 'Latencia mediana'],
  ['latencyP99', 'Latencia p99'],
  ['slowReaders', 'Lectores lentos'],
  ['pendingCleanups', 'Limpiezas pendientes'],
];
/** Those that somebody should look at where they are not 0. */
const NOTABLE = ['errorsPerMinute', 'slowReaders', 'pendingCleanups'];
/** @type {Record<string, string>} */
const VIA = { sse: 'SSE', websocket: 'WebSocket', 'websocket-v2': 'WebSocket v2' };
/** @type {Record<string, string>} */
const WRITES = { not_sent: 'sin enviar', unknown: 'sin confirmar', confirmed: 'confirmada' };

/** The server's time of what is shown. */
let shownAt = 0;
/** @param {string} timestamp */
const since = (timestamp) => duration(shownAt - Date.parse(timestamp));

/** @param {string | null} operationId */
const nameOf = (operationId) =>
  operationId === null ? 'Todas' : title({ operationId, idConexion: connectionOf(operationId) });

/** @type {Table<Operation>} */
const operations = new Table('operaciones', {
  none: 'Ninguna.',
  columns: [
    { name: 'Usuario', text: ({ userId }) => userId },
    { name: 'Operación', text: ({ operation_id }) => nameOf(operation_id) },
    { name: 'Paso', text: ({ step }) => (step === null ? '' : stepName(step)) },
    { name: 'Mensaje', kind: 'words', text: ({ message }) => message ?? '' },
    { name: 'Avance', kind: 'figure', text: ({ progress }) => percent(progress) },
    { name: 'Trabajo', text: ({ running }) => (running ? 'Del servidor' : 'Externo o en espera') },
    { name: 'Desde hace', kind: 'figure', text: ({ started_at }) => since(started_at) },
    { name: 'Sin novedad', kind: 'figure', text: ({ updated_at }) => since(updated_at) },
  ],
});

/** @type {Table<Reader>} */
const readers = new Table('lectores', {
  none: 'Ninguna.',
  isNotable: ({ slow }) => slow,
  columns: [
    { name: 'Usuario', text: ({ userId }) => userId },
    { name: 'Sigue', text: ({ operation_id }) => nameOf(operation_id) },
    { name: 'Por', text: ({ via }) => VIA[via] ?? via },
    { name: 'Abierta hace', kind: 'figure', text: ({ opened_at }) => since(opened_at) },
    { name: 'Eventos en espera', kind: 'figure', text: ({ waiting_events }) => String(waiting_events) },
    { name: 'KiB en espera', kind: 'figure', text: ({ waiting_bytes }) => String(Math.ceil(waiting_bytes / 1024)) },
    { name: 'Avances omitidos', kind: 'figure', text: ({ skipped }) => String(skipped) },
    {
      name: 'Estado',
      text: ({ slow, stuck_seconds }) => (slow ? `Lenta: ${duration(stuck_seconds * 1000)} sin leer` : 'Al día'),
    },
  ],
});

/** @type {Table<Cleanup>} */
const cleanups = new Table('limpiezas', {
  none: 'Ninguna.',
  columns: [
    { name: 'Usuario', text: ({ userId }) => userId ?? '' },
    { name: 'Dirección', text: ({ direccion_ip }) => direccion_ip },
    { name: 'Escritura', text: ({ escritura }) => WRITES[escritura] ?? escritura },
    { name: 'Intentos', kind: 'figure', text: ({ intentos }) => String(intentos) },
    { name: 'Desde hace', kind: 'figure', text: ({ creado }) => since(creado) },
    { name: 'Próximo intento', kind: 'figure', text: ({ proximo_intento }) => clockTime(Date.parse(proximo_intento)) },
  ],
});

const figures = new Map(FIGURES.map(([name, text]) => {
  const value = make('dd', {}, '—');
  const element = make('div', {}, make('dt', {}, text), value);
  byId('cifras', HTMLDListElement).append(element);
  return [name, { element, value }];
}));

/** @param {Figures} given */
function showFigures(given) {
  for (const [name, { element, value }] of figures) {
    const figure = given[name] ?? null;
    const text = figure === null ? '—' : name.startsWith('latency') ? `${figure} ms` : String(figure);
    say(value, text);
    element.dataset['look'] = NOTABLE.includes(name) && figure ? 'warn' : '';
  }
}

const retry = byId('aviso-boton', HTMLButtonElement);
const process = byId('proceso', HTMLElement);
const signal = byId('senal', HTMLElement);

/** @param {string} text */
function tell(text) {
  say(byId('aviso-texto', HTMLElement), text);
  byId('aviso', HTMLElement).hidden = text === '';
}

/** @param {boolean} isLive @param {string} text */
function showSignal(isLive, text) {
  signal.dataset['state'] = isLive ? 'live' : 'reconnecting';
  say(byId('senal-texto', HTMLElement), text);
  document.documentElement.classList.toggle('stale', !isLive);
}

let timer = 0;

async function look() {
  let isFinal = false;
  try {
    const panel = await read('/api/panel');
    shownAt = Date.parse(panel.at);
    say(process, `Las cifras y las conexiones son las del proceso ${panel.process}; las operaciones y las limpiezas, las de todos.`);
    showFigures(panel.figures);
    operations.show(panel.operations, panel.figures.activeOperations);
    readers.show(panel.readers, panel.figures.readers);
    cleanups.show(panel.cleanups, panel.figures.pendingCleanups);
    showSignal(true, `Al día: ${clockTime(shownAt)}`);
    tell('');
    retry.hidden = true;
  } catch (error) {
    isFinal = error instanceof ProgressError && [401, 403].includes(error.status);
    showSignal(false, 'Sin datos nuevos');
    tell(`${error instanceof Error ? error.message : error}${isFinal ? '' : ' Se reintenta solo.'}`);
    retry.hidden = false;
  }
  clearTimeout(timer); // of another that has begun meanwhile
  if (!isFinal && !document.hidden) timer = setTimeout(look, PAUSE_MS);
}

function begin() {
  retry.addEventListener('click', look);
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) look();
  });
  look();
}

if (isDocumented()) begin();
else enter(begin, tell);
