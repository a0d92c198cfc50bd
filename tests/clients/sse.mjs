// One connection, parsed by eventsource-parser: node sse.mjs URL [--header 'K: v'] [--method M] [--body B]
//
// Lines: {open: {status, headers}}, {retry}, {comment}, {event, id, data}, {parseError}; {body} for an answer
// that is no event stream; at the end {eof: true} (the answer was complete) or {failed: reason}.
// `event` and `id` are null where the block has no such line.

import { createParser } from 'eventsource-parser';

import { endWithParent, headers, options, reason, tell, url } from './arguments.mjs';

endWithParent();
try {
  const response = await fetch(url, { method: options.method, body: options.body, headers, redirect: 'manual' });
  tell({ open: { status: response.status, headers: Object.fromEntries(response.headers) } });
  if (!(response.headers.get('content-type') ?? '').startsWith('text/event-stream')) {
    tell({ body: await response.text() });
  } else if (response.body) {
    const parser = createParser({
      onEvent: ({ event, id, data }) => tell({ event: event ?? null, id: id ?? null, data }),
      onRetry: (milliseconds) => tell({ retry: milliseconds }),
      onComment: (text) => tell({ comment: text }),
      onError: (error) => tell({ parseError: error.message }),
    });
    const decoder = new TextDecoder('utf-8', { fatal: true });
    for await (const chunk of response.body) parser.feed(decoder.decode(chunk, { stream: true }));
  }
  tell({ eof: true });
} catch (error) {
  tell({ failed: reason(error) });
}
process.exit(0);
