// What the three clients share: their command line, one JSON line per thing that happened, and
// never outliving the test that started them.

import { parseArgs } from 'node:util';

export const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    header: { type: 'string', multiple: true, default: [] }, // "Name: value"
    method: { type: 'string', default: 'GET' },
    body: { type: 'string' },
    protocol: { type: 'string', multiple: true, default: [] },
    origin: { type: 'string' },
  },
});

export const url = positionals[0];
if (url === undefined) {
  console.error('a URL is needed');
  process.exit(2);
}

export const headers = options.header.map((line) => {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
});

export function tell(what) {
  process.stdout.write(JSON.stringify(what) + '\n'); // a pipe: written before this returns
}

export function endWithParent() {
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}

export function reason(error) {
  return [error.message, error.cause?.code ?? error.code, error.cause?.message].filter(Boolean).join(': ');
}
