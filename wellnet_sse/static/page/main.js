// The page: who sits here, one client, and the parts that show what it tells.

import { ProgressClient } from '../progress-client.js';
import { Board } from './board.js';
import { Connections } from './connections.js';
import { byId, say } from './dom.js';
import { DayHistory } from './history.js';
import { enter } from './login.js';
import { Operations } from './operations.js';
import { currentUser, isDocumented, isUserId, remember } from './session.js';
import { showSignal } from './signal.js';

/** @param {string} userId */
function begin(userId) {
  const client = new ProgressClient({ userId });
  const operations = new Operations(client);
  const board = new Board(client, operations);
  const connections = new Connections(userId, operations, (entry) => board.focus(entry));
  new DayHistory(userId, operations);
  showSignal(client);
  client.addEventListener('connection', ({ data }) => {
    // Opened while the server was away, the page has no list yet.
    if (data.state === 'live' && connections.isEmpty) connections.read();
  });
  operations.follow();
  connections.read();
  byId('contenido', HTMLElement).hidden = false;
}

/** @param {string | null} userId */
function askWho(userId) {
  const form = byId('quien', HTMLFormElement);
  const field = byId('usuario', HTMLInputElement);
  form.hidden = false;
  field.value = userId ?? '';
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const chosen = field.value.trim();
    if (!isUserId(chosen)) return;
    remember(chosen);
    // Everything here belongs to one user: another begins with a page of their own.
    location.assign(`${location.pathname}?userId=${chosen}`);
  });
}

/** @param {string} text */
function tell(text) {
  say(byId('aviso-texto', HTMLElement), text);
  byId('aviso-boton', HTMLElement).hidden = true;
  byId('aviso', HTMLElement).hidden = text === '';
}

if (isDocumented()) {
  const userId = currentUser();
  askWho(userId);
  if (userId === null) {
    tell('Indique su número de usuario para ver sus operaciones.');
    byId('usuario', HTMLInputElement).focus();
  } else {
    remember(userId);
    begin(userId);
  }
} else {
  enter(({ userId }) => {
    byId('aviso-boton', HTMLElement).hidden = false;
    begin(userId);
  }, tell);
}
