// Making elements, without markup in strings.

const SVG = 'http://www.w3.org/2000/svg';

/** Paths on a field of 20 by 20, drawn as lines. @type {Record<string, string>} */
const ICONS = {
  pending: 'M10 3a7 7 0 1 0 0 14a7 7 0 1 0 0-14',
  in_progress: 'M10 3a7 7 0 1 0 0 14a7 7 0 1 0 0-14M10 6.5V10l2.5 2',
  completed: 'M4 10.5l4 4l8-9',
  error: 'M5 5l10 10M15 5L5 15',
  interrupted: 'M10 4v8M10 15.5v.5',
  cancelled: 'M10 3a7 7 0 1 0 0 14a7 7 0 1 0 0-14M5.2 14.8l9.6-9.6',
  expired: 'M6 3h8M6 17h8M7 3c0 4 6 5 6 7s-6 3-6 7M13 3c0 4-6 5-6 7s6 3 6 7',
  lost: 'M7 7.5a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1-1.5 2.4M10 15.5v.5',
};
ICONS['failed'] = /** @type {string} */ (ICONS['error']);

/**
 * An element. `properties` are attributes, but `on…`, which are listeners, and those that are undefined or false.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | boolean | undefined | ((event: Event) => void)>} [properties]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children);
  return element;
}

/**
 * The element of the page with that id.
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`no #${id}`);
  return element;
}

/** An icon that only decorates: what it means is said beside it. */
export class Icon {
  element = document.createElementNS(SVG, 'svg');
  #path = document.createElementNS(SVG, 'path');

  constructor() {
    this.element.setAttribute('viewBox', '0 0 20 20');
    this.element.setAttribute('class', 'icon');
    this.element.setAttribute('aria-hidden', 'true');
    this.element.append(this.#path);
  }

  /** @param {string} name */
  show(name) {
    if (this.element.dataset['name'] === name) return;
    this.element.dataset['name'] = name;
    this.#path.setAttribute('d', ICONS[name] ?? '');
  }
}

/** A progress bar, which moves when it is told and never by itself. */
export class Bar {
  element = make('div', { class: 'bar', role: 'progressbar', 'aria-valuemin': '0', 'aria-valuemax': '100' });
  #fill = make('div', { class: 'fill' });

  /** @param {string} label */
  constructor(label) {
    this.element.setAttribute('aria-label', label);
    this.element.append(this.#fill);
  }

  /** @param {number | null} progress null: nobody knows how far it is */
  show(progress) {
    if (progress === null) this.element.removeAttribute('aria-valuenow');
    else this.element.setAttribute('aria-valuenow', String(progress));
    this.element.classList.toggle('unknown', progress === null);
    this.#fill.style.width = `${progress ?? 100}%`;
  }
}

/**
 * Writes a text where it differs, so that what has not changed is not read out or laid out again.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
