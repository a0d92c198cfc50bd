// What pages of WellNet did before: a plain WebSocket, the six documented fields, three POSTs with two headers.
// It goes on working; it neither resumes nor learns how the operation ended.

/**
 * @param {string} base such as `https://wellnet-rd.com:444`
 * @param {number} userId
 * @param {(update: any) => void} onProgress gets operation_id, step, status, message, progress, timestamp
 * @returns {Promise<WebSocket>}
 */
export function conectar(base, userId, onProgress) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(`${base.replace(/^http/, 'ws')}/ws/progress?userId=${userId}`);
    ws.onopen = () => resolve(ws);
    ws.onerror = reject;
    ws.onmessage = ({ data }) => onProgress(JSON.parse(data));
  });
}

/**
 * @param {WebSocket} ws
 * @param {{base: string, userId: number, operationId: string, id_conexion: number, direccion_ip: string,
 *   id_usuario: number}} options
 */
export async function eliminarConexion(ws, { base, userId, operationId, id_conexion, direccion_ip, id_usuario }) {
  ws.send(JSON.stringify({ type: 'start_operation', operation_id: operationId }));
  try {
    await post('/api/conexiones/quitar-asignacion', { id_conexion });
    await post('/api/routers/quitar-conexion', { direccion_ip });
    await post('/api/configuracion/eliminar', { id_conexion, id_usuario });
  } finally {
    ws.send(JSON.stringify({ type: 'stop_operation', operation_id: operationId }));
  }

  /**
   * @param {string} path
   * @param {object} body
   */
  async function post(path, body) {
    const response = await fetch(base + path, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        'X-Operation-ID': operationId,
        'X-User-ID': String(userId),
      },
      body: JSON.stringify(body),
    });
    const { success, message } = await response.json();
    if (!success) throw new Error(message);
  }
}
