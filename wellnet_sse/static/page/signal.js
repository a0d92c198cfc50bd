// How the connection is: the dot at the top, and a banner where what is seen may not be up to date.

import { byId, say } from './dom.js';
import { SIGNALS, trouble } from './wording.js';

/** @import {ProgressClient} from '../progress-client.js' */

/** @param {ProgressClient} client */
export function showSignal(client) {
  const dot = byId('senal', HTMLElement);
  const text = byId('senal-texto', HTMLElement);
  const banner = byId('aviso', HTMLElement);
  const sentence = byId('aviso-texto', HTMLElement);
  const button = byId('aviso-boton', HTMLButtonElement);
  button.addEventListener('click', () => client.reconnect());
  const show = () => {
    const status = client.connection;
    dot.dataset['state'] = status.state;
    say(text, SIGNALS[status.state]);
    const told = trouble(status);
    say(sentence, told ?? '');
    banner.hidden = told === null;
    document.documentElement.classList.toggle('stale', told !== null);
  };
  client.addEventListener('connection', show);
  show();
}
