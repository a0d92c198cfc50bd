// Stand-ins for what a browser has: a clock, EventSource, WebSocket, a window and Web Locks.

/** Time that passes when it is told to. */
export class Clock {
  constructor() {
    this.time = 1_000_000;
    this.timers = new Map();
    this.last = 0;
    this.environment = {
      now: () => this.time,
      random: () => 1, // the longest wait
      setTimeout: (act, ms) => this.#add(act, ms, null),
      clearTimeout: (id) => this.timers.delete(id),
      setInterval: (act, ms) => this.#add(act, ms, ms),
      clearInterval: (id) => this.timers.delete(id),
    };
  }

  #add(act, ms, every) {
    this.timers.set(++this.last, { act, at: this.time + ms, every });
    return this.last;
  }

  /** Lets `ms` pass, and everything that was waiting for it happen. */
  async pass(ms) {
    const end = this.time + ms;
    while (true) {
      await settled();
      const [id, timer] = [...this.timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? [];
      if (!timer || timer.at > end) break;
      this.time = Math.max(this.time, timer.at);
      if (timer.every === null) this.timers.delete(id);
      else timer.at += timer.every;
      timer.act();
    }
    this.time = end;
    await settled();
  }

  /** The machine sleeps: time passes, and timers are merely late. */
  async sleep(ms) {
    this.time += ms;
    for (const timer of this.timers.values()) timer.at = Math.max(timer.at, this.time);
    await this.pass(0);
  }
}

/** Lets promises, and the events that they cause, have their way. */
export async function settled() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A class of EventSources (or WebSockets) that do what the test says; `opened` has them all. */
export function fakeSources() {
  class FakeSource extends EventTarget {
    static opened = [];
    CONNECTING = 0;
    OPEN = 1;
    CLOSED = 2;

    constructor(url, options) {
      super();
      this.url = new URL(url);
      this.options = options;
      this.readyState = 0;
      FakeSource.opened.push(this);
    }

    static get last() {
      return FakeSource.opened.at(-1);
    }

    get cursor() {
      return this.url.searchParams.get('lastEventId');
    }

    get isClosed() {
      return this.readyState === 2;
    }

    open() {
      this.readyState = 1;
      this.dispatchEvent(new Event('open'));
    }

    /** As the stream would dispatch it; EventSource keeps the last id for blocks without one. */
    say(type, id, data = {}) {
      this.lastId = id ?? this.lastId ?? '';
      const event = { data: JSON.stringify(data), lastEventId: this.lastId };
      this.dispatchEvent(new MessageEvent(type, event));
    }

    /** As the v2 WebSocket sends it. */
    send2(event, id, data = {}) {
      this.dispatchEvent(new MessageEvent('message', { data: JSON.stringify({ event, id, data }) }));
    }

    /** The network broke; a native EventSource would try again. */
    breakOff() {
      this.readyState = 0;
      this.dispatchEvent(new Event('error'));
    }

    /** It got an answer that is final for EventSource. */
    giveUp() {
      this.readyState = 2;
      this.dispatchEvent(new Event('error'));
    }

    hangUp(code) {
      this.readyState = 3;
      this.dispatchEvent(Object.assign(new Event('close'), { code }));
    }

    close() {
      this.readyState = 2;
    }
  }
  return FakeSource;
}

export class FakeWindow extends EventTarget {
  document = Object.assign(new EventTarget(), { visibilityState: 'visible' });

  say(type) {
    this.dispatchEvent(new Event(type));
  }
}

/** Web Locks of one browser. Each tab asks through its own `tab()`, whose death frees what it holds. */
export class FakeLocks {
  #held = new Map(); // name -> {tab, end(reason)}
  #queues = new Map(); // name -> [{tab, grant}]

  tab() {
    const tab = {
      request: (name, options, callback) => this.#request(tab, name, options, callback),
      /** The tab's process is gone: it does nothing more, its locks are free. */
      die: () => {
        for (const [name, queue] of this.#queues) this.#queues.set(name, queue.filter((it) => it.tab !== tab));
        for (const [name, lock] of [...this.#held]) if (lock.tab === tab) this.#free(name);
      },
    };
    return tab;
  }

  holder(name) {
    return this.#held.get(name)?.tab;
  }

  get names() {
    return [...this.#held.keys()];
  }

  #request(tab, name, { signal, steal = false }, callback) {
    return new Promise((resolve, reject) => {
      const grant = () => {
        const lock = { tab, reject };
        this.#held.set(name, lock);
        queueMicrotask(async () => {
          try {
            resolve(await callback({ name }));
          } catch (error) {
            reject(error);
          } finally {
            if (this.#held.get(name) === lock) this.#free(name);
          }
        });
      };
      signal?.addEventListener('abort', () => {
        this.#queues.set(name, (this.#queues.get(name) ?? []).filter((it) => it.grant !== grant));
        reject(new DOMException('aborted', 'AbortError'));
      });
      if (steal && this.#held.has(name)) {
        this.#held.get(name).reject(new DOMException('stolen', 'AbortError'));
        grant();
      } else if (this.#held.has(name)) {
        this.#queues.set(name, [...(this.#queues.get(name) ?? []), { tab, grant }]);
      } else {
        grant();
      }
    });
  }

  #free(name) {
    this.#held.delete(name);
    const [next, ...rest] = this.#queues.get(name) ?? [];
    this.#queues.set(name, rest);
    next?.grant();
  }
}
