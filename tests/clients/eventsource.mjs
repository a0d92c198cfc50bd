// undici's EventSource, which reconnects by itself as a browser does: node eventsource.mjs URL
//
// Lines: {type: 'open' | 'error', readyState} and {type, lastEventId, data, readyState} for each event.
// readyState: 0 it will try again, 1 open, 2 closed for good (the process ends then).

import { EventSource, getGlobalDispatcher } from 'undici';

import { endWithParent, tell, url } from './arguments.mjs';

process.removeAllListeners('warning'); // "EventSource is experimental"
endWithParent();
const source = new EventSource(url, { dispatcher: getGlobalDispatcher() });

source.addEventListener('open', () => tell({ type: 'open', readyState: source.readyState }));
source.addEventListener('error', () => {
  tell({ type: 'error', readyState: source.readyState });
  if (source.readyState === EventSource.CLOSED) process.exit(0);
});
for (const type of ['message', 'end', 'operation', 'live', 'gap']) {
  source.addEventListener(type, ({ data, lastEventId }) =>
    tell({ type, lastEventId, data, readyState: source.readyState }),
  );
}
