// Mode `token`: the server's cookie says who sits here, and no script can read it. Whoever comes without one may
// give a token for it; what gives people theirs is the portal before this server.

import { ProgressError, refusal } from '../progress-server.js';
import { byId, say } from './dom.js';
import { read } from './reading.js';

/** @typedef {{userId: string, scope: string}} Session `scope`: what it is for, words with spaces between */

const SESSION = '/api/sesion';

/**
 * Calls `begin` once there is a session: at once, or when somebody has given a token.
 * @param {(session: Session) => void} begin
 * @param {(text: string) => void} tell shows a sentence; an empty one hides the last
 */
export function enter(begin, tell) {
  const entry = byId('entrada', HTMLFormElement);
  const field = byId('credencial', HTMLInputElement);
  const exit = byId('salida', HTMLFormElement);

  /** @param {string} missing what to say where there is no session */
  async function look(missing) {
    try {
      const session = await read(SESSION);
      entry.hidden = true;
      tell('');
      say(byId('salida-usuario', HTMLElement), `Usuario ${session.userId}`);
      exit.hidden = false;
      begin(session);
    } catch (error) {
      entry.hidden = false;
      field.focus();
      tell(error instanceof ProgressError && error.status === 401 ? missing : sentence(error));
    }
  }

  entry.addEventListener('submit', async (event) => {
    event.preventDefault();
    const token = field.value.trim();
    field.value = '';
    try {
      await post(SESSION, { Authorization: `Bearer ${token}` });
    } catch (error) {
      return tell(sentence(error));
    }
    await look('El navegador no guardó la sesión: solo lo hace por HTTPS.');
  });
  exit.addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      await post(`${SESSION}/cerrar`, {});
      location.reload();
    } catch (error) {
      tell(sentence(error));
    }
  });
  look('Este servidor pide una sesión: entre por WellNet, o escriba aquí arriba su credencial.');
}

/**
 * @param {string} path
 * @param {Record<string, string>} headers
 */
async function post(path, headers) {
  let response;
  try {
    const sent = { ...headers, 'Content-Type': 'application/json' };
    response = await fetch(path, { method: 'POST', headers: sent, body: '{}' });
  } catch {
    throw new ProgressError('El servidor no responde.', { status: 0, code: 'unreachable' });
  }
  if (!response.ok) throw refusal(response, await response.json().catch(() => null));
}

/** @param {unknown} error */
function sentence(error) {
  return error instanceof Error ? error.message : String(error);
}
