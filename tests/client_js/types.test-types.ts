// Checked by tsc alone: the declarations say what callers need, and the modules are what the declarations say.

import * as React from 'react';

import {
  ProgressClient,
  type Ending,
  type LostEnding,
  type Outcome,
  type StepProgress,
  type Watch,
} from 'wellnet-progress-client';
import { useOperationWith, type Progress } from 'wellnet-progress-client/use-operation';

// Copies under names without declarations, so that tsc looks into the JavaScript: see types.test.mjs.
import * as made from './build/made/progress-client-implementation.js';
import * as madeHook from './build/made/use-operation-implementation.js';
import * as written from 'wellnet-progress-client';
import * as writtenHook from 'wellnet-progress-client/use-operation';

// What is declared is there, and nothing public is there that is not declared.
const client: typeof written.ProgressClient = made.ProgressClient;
const error: typeof written.ProgressError = made.ProgressError;
const hook: typeof writtenHook.useOperationWith = madeHook.useOperationWith;
const names: keyof written.ProgressClient = null! as keyof made.ProgressClient;
const exported: keyof typeof written = null! as keyof typeof made;
void [client, error, hook, names, exported];

export async function callers(): Promise<Outcome | 'lost'> {
  const client = new ProgressClient({ userId: 7, baseUrl: 'https://wellnet-rd.com:444', token: async () => 'jwt' });
  const run = client.run('/api/conexiones/eliminar', { id_conexion: 3 });
  const id: string = run.operationId;
  const watch: Watch = client.watch(id, { untilEnd: false });
  watch.addEventListener('progress', ({ data, lastEventId }) => {
    const event: StepProgress = data;
    const cursor: string = lastEventId;
    void [event, cursor];
  });
  for await (const message of client.watchAll()) {
    if (message.event === 'progress') message.data.progress satisfies number | null;
    if (message.event === 'operation') message.data.outcome satisfies Outcome | 'lost';
    if (message.event === 'gap') message.data.latest satisfies string | null;
    // @ts-expect-error -- fields are read-only
    if (message.event === 'progress') message.data.progress = 3;
  }
  client.addEventListener('connection', ({ data }) => {
    switch (data.state) {
      case 'connecting':
      case 'live':
      case 'offline':
      case 'reconnecting':
      case 'closed':
        return;
      default:
        data.state satisfies never;
    }
  });
  // @ts-expect-error -- a client is somebody's
  new ProgressClient({ baseUrl: 'https://wellnet-rd.com:444' });
  // @ts-expect-error -- an operation has an id
  client.watch(3);
  const ending: Ending | LostEnding = await run;
  const maybe: Ending | LostEnding | null = await watch.ended;
  void maybe;
  return ending.outcome;
}

export function Component({ client, operationId }: { client: ProgressClient; operationId: string | null }) {
  const useOperation = useOperationWith(React);
  const progress: Progress = useOperation(client, operationId);
  return progress.operation?.steps.length;
}
