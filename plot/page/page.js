"use strict";
// Sorting: a click on a heading, again for the other way round. Absent values stay at the end.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = heading.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const h of headings) h.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...table.tBodies[0].rows].map((row) => {
        const cell = row.cells[column];
        return { row, number: cell.dataset.v === undefined ? NaN : Number(cell.dataset.v), text: cell.textContent };
      });
      const words = new Intl.Collator(undefined, { numeric: true }).compare;
      keyed.sort((a, b) => {
        if ((a.text === "") !== (b.text === "")) return a.text === "" ? 1 : -1;
        const order = Number.isNaN(a.number) || Number.isNaN(b.number) ? words(a.text, b.text) : a.number - b.number;
        return down ? -order : order;
      });
      table.tBodies[0].append(...keyed.map((k) => k.row));
    });
  });
}
// Filters: rows that hold all the words.
for (const input of document.querySelectorAll("input[data-filter]")) {
  const rows = [...document.getElementById(input.dataset.filter).tBodies[0].rows];
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = [...row.cells].map((c) => c.textContent.toLowerCase());
      row.hidden = !words.every((w) => text.some((t) => t.includes(w)));
    }
  });
}
// Maps: the value of the cell under the pointer, or under a cursor that the arrow keys move.
for (const map of document.querySelectorAll("svg.heat")) {
  const data = JSON.parse(map.dataset.cells), size = Number(map.dataset.size), cell = 10 / size;
  const cursor = map.querySelector(".cursor"), out = map.parentElement.querySelector(".value"), rest = out.textContent;
  let at = [0, 0];
  const named = (i) => {
    const first = i * data.per, last = Math.min(first + data.per, data.hosts.length || Infinity) - 1;
    const ranks = data.per > 1 ? `ranks ${first} to ${last}` : `rank ${first}`;
    return data.per === 1 && data.hosts[first] !== undefined ? `${ranks} (${data.hosts[first]})` : ranks;
  };
  const show = (from, to) => {
    at = [from, to];
    const value = data.values[from][to];
    cursor.removeAttribute("hidden");
    cursor.setAttribute("x", to * cell);
    cursor.setAttribute("y", from * cell);
    out.textContent = `${named(from)} → ${named(to)}: ${value === null ? "not measured" : `${value} ${data.unit}`}`;
  };
  const leave = () => { cursor.setAttribute("hidden", "hidden"); out.textContent = rest; };
  map.addEventListener("pointermove", (event) => {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    const to = Math.floor(p.x / cell), from = Math.floor(p.y / cell);
    if (from >= 0 && to >= 0 && from < size && to < size) show(from, to); else leave();
  });
  map.addEventListener("pointerleave", leave);
  map.addEventListener("focus", () => show(...at));
  map.addEventListener("blur", leave);
  map.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    show(...at.map((v, i) => Math.min(size - 1, Math.max(0, v + step[i]))));
  });
}
// Copying, where the browser lets pages do so.
for (const button of document.querySelectorAll("button.copy")) {
  if (!navigator.clipboard) { button.hidden = true; continue; }
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
  });
}
// On paper everything is open.
addEventListener("beforeprint", () => { for (const d of document.querySelectorAll("details")) d.open = true; });
