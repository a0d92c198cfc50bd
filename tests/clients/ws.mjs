// npm's `ws`, the source document's own library: node ws.mjs URL [--protocol P]... [--origin O] [--header 'K: v']
//
// Lines: {open: {protocol, extensions, headers}}, {message}, {binary: base64}, {ping: true}, and at the end
// {close: {code, reason}}, or {refused: {status, headers, body}} where the handshake got an HTTP answer, or
// {failed: reason}. Each line of stdin is sent as one text message.

import { createInterface } from 'node:readline';

import WebSocket from 'ws';

import { headers, options, reason, tell, url } from './arguments.mjs';

const socket = new WebSocket(url, options.protocol, {
  origin: options.origin,
  headers: Object.fromEntries(headers),
});
let upgradeHeaders = {};

socket.on('upgrade', (response) => (upgradeHeaders = response.headers));
socket.on('open', () => {
  tell({ open: { protocol: socket.protocol, extensions: socket.extensions, headers: upgradeHeaders } });
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => socket.send(line));
  lines.on('close', () => process.exit(0));
});
socket.on('message', (data, isBinary) =>
  tell(isBinary ? { binary: data.toString('base64') } : { message: data.toString('utf8') }),
);
socket.on('ping', () => tell({ ping: true }));
socket.on('unexpected-response', async (_request, response) => {
  response.setEncoding('utf8');
  let body = '';
  for await (const chunk of response) body += chunk;
  tell({ refused: { status: response.statusCode, headers: response.headers, body } });
  process.exit(0);
});
socket.on('error', (error) => {
  // After the handshake `close` follows and tells the code.
  if (socket.readyState === WebSocket.CONNECTING || upgradeHeaders.upgrade === undefined) {
    tell({ failed: reason(error) });
    process.exit(0);
  }
});
socket.on('close', (code, text) => {
  tell({ close: { code, reason: text.toString('utf8') } });
  process.exit(0);
});
