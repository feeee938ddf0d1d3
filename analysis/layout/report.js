"use strict";
// The report reads without this: it makes tables sortable, long ones searchable, and closes the contents on a phone.
(() => {
  const NOTHING = "–";
  const FACTORS = { ms: 1e-3, s: 1, min: 60, h: 3600, k: 1e3, M: 1e6, MB: 1e6 };
  const NUMBER = /^(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?:[\s\u00a0]?(ms|min|s|h|k|MB|M)(?![a-z]))?/;
  const FEWEST_SORTED = 2;
  const MOST_UNSEARCHED = 15;

  const made = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // The number that a cell begins with, in base units; NaN where it begins with something else.
  const numberIn = (text) => {
    const found = NUMBER.exec(text.replace(/\u202f/g, "").replace("−", "-"));
    return found ? Number(found[1]) * (FACTORS[found[2]] ?? 1) : NaN;
  };

  const order = (texts) => {
    const numbers = texts.map(numberIn);
    const numeric = texts.every((text, row) => text === NOTHING || !Number.isNaN(numbers[row]));
    return (a, b, sign) => {
      if (texts[a] === NOTHING || texts[b] === NOTHING) return (texts[a] === NOTHING) - (texts[b] === NOTHING);
      const words = texts[a].localeCompare(texts[b], undefined, { numeric: true });
      return sign * (numeric ? numbers[a] - numbers[b] : words);
    };
  };

  const sort = (table, column, sign) => {
    const rows = [...table.tBodies[0].rows];
    const compare = order(rows.map((row) => row.cells[column].textContent.trim()));
    const places = rows.map((_, row) => row).sort((a, b) => compare(a, b, sign) || a - b);
    table.tBodies[0].append(...places.map((place) => rows[place]));
  };

  const makeSortable = (table) => {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = made("button", heading.textContent, { type: "button" });
      button.addEventListener("click", () => {
        const ascending = heading.getAttribute("aria-sort") !== "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, ascending ? 1 : -1);
      });
      heading.replaceChildren(button);
    });
  };

  const makeSearchable = (table) => {
    const rows = [...table.tBodies[0].rows];
    const label = made("label", "Filter rows ", { class: "filter" });
    const box = made("input", "", { type: "search", autocomplete: "off", spellcheck: "false" });
    const counted = made("span", "", { role: "status" });
    box.addEventListener("input", () => {
      const wanted = box.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
      const left = rows.filter((row) => !row.hidden).length;
      counted.textContent = wanted ? ` ${left} of ${rows.length} rows` : "";
    });
    label.append(box, counted);
    table.parentElement.before(label);
  };

  for (const table of document.querySelectorAll("main table")) {
    const rows = table.tBodies[0].rows.length;
    if (rows >= FEWEST_SORTED) makeSortable(table);
    if (rows > MOST_UNSEARCHED) makeSearchable(table);
  }
  const contents = document.querySelector("nav details");
  if (contents && matchMedia("(max-width: 74.99rem)").matches) contents.open = false;
})();
