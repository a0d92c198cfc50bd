// Lists that are read once: connections, operations. What happens is told by the client's stream instead.

import { ProgressError, refusal } from '../progress-server.js';

const TIMEOUT_MS = 15_000;

/**
 * The JSON at `path`, as `userId` or whoever the cookie names may see it. Throws ProgressError, whose sentence is for a person.
 * @param {string} path
 * @param {{userId?: string, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function read(path, { userId, signal } = {}) {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  let answer = null;
  try {
    response = await fetch(path, {
      headers: userId === undefined ? {} : { 'X-User-ID': userId },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    answer = await response.json().catch(() => null);
  } catch {
    throw new ProgressError('El servidor no responde.', { status: 0, code: 'unreachable' });
  }
  if (!response.ok || answer === null) throw refusal(response, answer);
  return answer;
}
