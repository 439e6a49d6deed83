// Put into a copy of the report by tests/program/report.sh: uses the page as a reader would, and says what came of it.
const outcome = [];
const say = (name, holds) => outcome.push(`${holds ? "ok" : "not ok"} ${name}`);
const press = (element, key) => element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));

const table = document.getElementById("table-results");
const column = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent === "median us");
const values = () => [...table.tBodies[0].rows].map((r) => Number(r.cells[column].dataset.v));
const button = table.tHead.rows[0].cells[column].querySelector("button");
button.focus();
say("headings can be reached by keyboard", document.activeElement === button);
button.click();
say("a click sorts upwards", values().every((v, i, a) => i === 0 || a[i - 1] <= v));
button.click();
say("another one downwards", values().every((v, i, a) => i === 0 || a[i - 1] >= v));

const filter = document.querySelector('input[data-filter="table-results"]');
const seen = () => [...table.tBodies[0].rows].filter((r) => !r.hidden).length;
const all = seen();
filter.value = "exact total";
filter.dispatchEvent(new Event("input"));
say("words show only rows that hold them", seen() > 0 && seen() < all);

const map = document.querySelector("svg.heat"), value = map.parentElement.querySelector(".value");
map.dispatchEvent(new FocusEvent("focus"));
press(map, "ArrowRight");
press(map, "ArrowDown");
press(map, "ArrowDown");
say("arrow keys walk through a map", /^rank 2 \(\S+\) → rank 1 \(\S+\): [\d.]+ /.test(value.textContent));
const box = map.getScreenCTM();
map.dispatchEvent(new PointerEvent("pointermove", { clientX: box.e + 0.1 * box.a, clientY: box.f + 9.9 * box.d, bubbles: true }));
say("pointing at a cell shows its value", value.textContent.startsWith("rank 7 ") && value.textContent.includes("→ rank 0 "));

const inside = (r) => r.width > 0 && r.left >= -1 && r.right <= document.documentElement.clientWidth + 1;
say("nothing is wider than the page", document.documentElement.scrollWidth <= document.documentElement.clientWidth);
say("every figure has a size", [...document.querySelectorAll("svg.figure, svg.heat")].every((s) => s.getBoundingClientRect().height > 50));
say("the answer is in sight", inside(document.querySelector("h1").getBoundingClientRect()));

// Labels of one figure must not lie on each other; numbers in the cells of maps are smaller than their cells.
const boxes = (svg) => [...svg.querySelectorAll("text")].filter((t) => t.textContent.trim() !== "").map((t) => {
  const b = t.getBoundingClientRect();
  return { text: t.textContent, left: b.left + 1, right: b.right - 1, top: b.top + 2, bottom: b.bottom - 2, turned: b };
});
const crossing = [];
for (const svg of document.querySelectorAll("svg.figure")) {
  const b = boxes(svg).filter((x) => !svg.querySelector(`[transform*="rotate(-30)"]`) || x.bottom - x.top < 14);
  for (let i = 0; i < b.length; i++)
    for (let j = 0; j < i; j++)
      if (b[i].left < b[j].right && b[j].left < b[i].right && b[i].top < b[j].bottom && b[j].top < b[i].bottom)
        crossing.push(`${b[j].text} / ${b[i].text}`);
}
say(`no label lies on another${crossing.length ? `: ${crossing.slice(0, 3).join("; ")}` : ""}`, crossing.length === 0);

dispatchEvent(new Event("beforeprint"));
say("on paper everything is open", [...document.querySelectorAll("details")].every((d) => d.open));

const dump = document.createElement("pre");
dump.id = "outcome";
dump.textContent = outcome.join("\n");
document.body.append(dump);
