// A table that is shown anew every few seconds: what has not changed stays as it is, for eyes and screen readers.

import { byId, make, say } from '../page/dom.js';

/**
 * @template Row
 * @typedef {{name: string, kind?: 'figure' | 'words', text: (row: Row) => string}} Column
 */

/** @template Row */
export class Table {
  #table;
  #note;
  #columns;
  #none;
  #isNotable;
  /** @type {HTMLTableSectionElement | null} */
  #body = null;

  /**
   * @param {string} id
   * @param {{columns: Column<Row>[], none: string, isNotable?: (row: Row) => boolean}} parts `none`: what to say of
   *   an empty one
   */
  constructor(id, { columns, none, isNotable = () => false }) {
    this.#table = byId(id, HTMLTableElement);
    this.#note = byId(`${id}-nota`, HTMLElement);
    this.#columns = columns;
    this.#none = none;
    this.#isNotable = isNotable;
  }

  /**
   * @param {Row[] | null} rows null: nobody can tell
   * @param {number} total how many there are, shown or not
   */
  show(rows, total) {
    const count = rows?.length ?? 0;
    say(
      this.#note,
      rows === null
        ? 'No se puede saber: el almacén no responde.'
        : count === 0
          ? this.#none
          : count < total
            ? `Se muestran ${count} de ${total}.`
            : '',
    );
    if (count === 0) {
      this.#table.replaceChildren();
      this.#body = null;
      return;
    }
    this.#body ??= this.#begin();
    while (this.#body.rows.length > count) this.#body.deleteRow(-1);
    rows?.forEach((row, number) => this.#showRow(number, row));
  }

  #begin() {
    const heads = this.#columns.map(({ name, kind }) => make('th', { scope: 'col', class: kind }, name));
    const body = make('tbody');
    this.#table.append(make('thead', {}, make('tr', {}, ...heads)), body);
    return body;
  }

  /**
   * @param {number} number
   * @param {Row} row
   */
  #showRow(number, row) {
    const body = /** @type {HTMLTableSectionElement} */ (this.#body);
    let line = body.rows[number];
    if (!line) {
      line = make('tr', {}, ...this.#columns.map(({ kind }) => make('td', { class: kind })));
      body.append(line);
    }
    line.dataset['look'] = this.#isNotable(row) ? 'warn' : '';
    for (const [place, { text }] of this.#columns.entries()) {
      say(/** @type {HTMLTableCellElement} */ (line.cells[place]), text(row));
    }
  }
}
