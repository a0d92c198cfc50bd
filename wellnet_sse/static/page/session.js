// Who sits here: the documented number, which the page remembers.

const REMEMBERED = 'wellnet-user';
const NUMBER = /^[1-9][0-9]{0,18}$/;

/** @param {string | null | undefined} text */
export const isUserId = (text) => typeof text === 'string' && NUMBER.test(text);

/** Whether the server trusts a number. */
export const isDocumented = () => document.documentElement.dataset['auth'] === 'documented';

/** The user of the address, else the remembered one, else the demonstration's; null where there is none. */
export function currentUser() {
  const candidates = [
    new URLSearchParams(location.search).get('userId'),
    remembered(),
    document.documentElement.dataset['user'],
  ];
  return candidates.find(isUserId) ?? null;
}

/** @param {string} userId */
export function remember(userId) {
  try {
    localStorage.setItem(REMEMBERED, userId);
  } catch {
    // A browser that keeps nothing asks again the next time.
  }
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}
