// A page's script, outside of a page: node snippet.mjs FILE
//
// Runs FILE as a module with what browsers have and Node may not: EventSource (undici's) and WebSocket (npm's `ws`).

import { pathToFileURL } from 'node:url';

import { EventSource, getGlobalDispatcher } from 'undici';
import WebSocket from 'ws';

process.removeAllListeners('warning'); // "EventSource is experimental"

globalThis.EventSource = class extends EventSource {
  constructor(url) {
    super(url, { dispatcher: getGlobalDispatcher() });
  }
};
globalThis.WebSocket = WebSocket;

await import(pathToFileURL(process.argv[2]));
