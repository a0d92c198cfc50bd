// eventsource-parser over bytes that were never on a network: each line of stdin is a JSON array of chunks in
// base64; answered by one line, a JSON array of {event, id, data}, {retry}, {comment} and {parseError}.
// `event` and `id` are null where the block has no such line.

import { createInterface } from 'node:readline';

import { createParser } from 'eventsource-parser';

for await (const line of createInterface({ input: process.stdin })) {
  const seen = [];
  const parser = createParser({
    onEvent: ({ event, id, data }) => seen.push({ event: event ?? null, id: id ?? null, data }),
    onRetry: (milliseconds) => seen.push({ retry: milliseconds }),
    onComment: (text) => seen.push({ comment: text }),
    onError: (error) => seen.push({ parseError: error.message }),
  });
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for (const chunk of JSON.parse(line)) parser.feed(decoder.decode(Buffer.from(chunk, 'base64'), { stream: true }));
  decoder.decode(); // throws if a character was cut off
  process.stdout.write(JSON.stringify(seen) + '\n');
}
