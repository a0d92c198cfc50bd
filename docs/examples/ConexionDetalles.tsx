// The source document's ConexionDetalles.tsx, with live progress: one button, one operation of the server.

import * as React from 'react';

import type { OperationState, ProgressClient } from 'wellnet-progress-client';
import { useOperationWith } from 'wellnet-progress-client/use-operation';

const useOperation = useOperationWith(React);

const OUTCOMES: Record<NonNullable<OperationState['outcome']>, string> = {
  completed: 'Conexión eliminada por completo',
  failed: 'No se pudo completar',
  cancelled: 'Cancelada',
  interrupted: 'Interrumpida a medias: lo que quedó en duda se dice en el paso',
  expired: 'Sin noticias del servidor',
  lost: 'El servidor perdió el registro de esta operación: compruebe el estado de la conexión',
};

/** Outcomes after which the same operation may be tried again: what is done stays done. */
const RETRIED = ['failed', 'interrupted', 'expired', 'lost'];

/** What was ordered here last. */
interface Order {
  idConexion: number;
  operationId: string;
  refusal: string | null;
}

interface Props {
  /** One for the whole application: `new ProgressClient({ userId: loginData.id, baseUrl: 'https://wellnet-rd.com:444' })` */
  client: ProgressClient;
  connectionDetails: { id_conexion: number };
}

export function ConexionDetalles({ client, connectionDetails }: Props) {
  const { id_conexion: idConexion } = connectionDetails;
  const [lastOrder, setLastOrder] = React.useState<Order | null>(null);
  // Another connection has nothing to do with what was ordered for the one before.
  const order = lastOrder?.idConexion === idConexion ? lastOrder : null;
  const operationId = order?.operationId ?? null;
  const refusal = order?.refusal ?? null;
  const { operation, connection } = useOperation(client, operationId);

  async function eliminar() {
    // The same id again is the next attempt of the same operation; one that was cancelled takes no more.
    const isRetry = operationId !== null && (!operation?.outcome || RETRIED.includes(operation.outcome));
    const id = isRetry ? operationId : client.newOperationId('remove-config');
    setLastOrder({ idConexion, operationId: id, refusal: null });
    try {
      await client.run('/api/conexiones/eliminar', { id_conexion: idConexion }, { operationId: id });
    } catch (error) {
      const told = error instanceof Error ? error.message : String(error);
      setLastOrder((now) => (now?.operationId === id ? { ...now, refusal: told } : now));
    }
  }

  const isRunning = operationId !== null && refusal === null && !operation?.outcome;
  return (
    <section aria-busy={isRunning}>
      <button onClick={eliminar} disabled={isRunning || operation?.outcome === 'completed'}>
        {operation?.outcome && operation.outcome !== 'completed' ? 'Reintentar' : 'Eliminar'}
      </button>
      {isRunning && connection.state !== 'live' && <p role="status">Sin conexión: el trabajo sigue en el servidor</p>}
      {operation && <progress max={100} value={operation.progress ?? undefined} aria-label="Progreso total" />}
      <ol>
        {operation?.steps.map(({ step, status, message, progress }) => (
          <li key={step} data-status={status}>
            {message} {status === 'in_progress' && progress !== null && `(${progress} %)`}
          </li>
        ))}
      </ol>
      {operation?.outcome && <p role="status">{OUTCOMES[operation.outcome]}</p>}
      {refusal && <p role="alert">{refusal}</p>}
    </section>
  );
}
