import type { ConnectionStatus, OperationState, ProgressClient } from './progress-client.js';

/** What is used of React. */
export interface Hooks {
  useMemo<Value>(make: () => Value, dependencies: readonly unknown[]): Value;
  useSyncExternalStore<Snapshot>(
    subscribe: (changed: () => void) => () => void,
    snapshot: () => Snapshot,
    serverSnapshot?: () => Snapshot,
  ): Snapshot;
}

/** What the hook returns; a new object only when something changed. */
export interface Progress {
  /** null before anything is known of it. */
  readonly operation: OperationState | null;
  readonly connection: ConnectionStatus;
}

/** Makes the hook from React: `const useOperation = useOperationWith(React)`. */
export function useOperationWith(
  react: Hooks,
): (client: ProgressClient, operationId: string | null) => Progress;
