// A React hook over ProgressClient. React is handed in, so that this file needs no bundler and any version that
// has useSyncExternalStore (18 and later) will do. An example: docs/examples/ConexionDetalles.tsx.
//
//   import * as React from 'react';
//   const useOperation = useOperationWith(React);
//   const { operation, connection } = useOperation(client, operationId);

/** @import {Hooks, Progress} from './use-operation.js' */
/** @import {ProgressClient} from './progress-client.js' */

const NOTHING = () => {};

/** @param {Hooks} react */
export function useOperationWith({ useMemo, useSyncExternalStore }) {
  /**
   * @param {ProgressClient} client
   * @param {string | null} operationId
   */
  return function useOperation(client, operationId) {
    const store = useMemo(() => makeStore(client, operationId), [client, operationId]);
    return useSyncExternalStore(store.subscribe, store.snapshot, store.snapshot);
  };
}

/**
 * @param {ProgressClient} client
 * @param {string | null} operationId
 */
function makeStore(client, operationId) {
  /** @type {Progress} */
  let current = { operation: null, connection: client.connection };
  return {
    /** @param {() => void} changed */
    subscribe(changed) {
      if (operationId === null) return NOTHING;
      // It goes on after the ending: a new attempt re-opens the operation.
      const watch = client.watch(operationId, { untilEnd: false });
      for (const type of /** @type {const} */ (['progress', 'operation'])) watch.addEventListener(type, changed);
      client.addEventListener('connection', changed);
      return () => {
        client.removeEventListener('connection', changed);
        watch.close();
      };
    },
    /** The same object until something changes, as React asks for. */
    snapshot() {
      const operation = operationId === null ? null : client.operation(operationId);
      const { connection } = client;
      if (operation !== current.operation || connection !== current.connection) current = { operation, connection };
      return current;
    },
  };
}
