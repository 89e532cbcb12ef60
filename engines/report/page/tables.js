// Tables sorted by a click on a heading: better end first, then the other, then as they came.
const compareNames = new Intl.Collator("en", { numeric: true }).compare;

const sortKey = (line, column, numeric) => {
  if (column === 0) return line.dataset.row;
  const value = line.cells[column].dataset.value;
  if (value === undefined) return null;
  return numeric ? Number(value) : value;
};

const sortTable = (heading) => {
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const first = heading.dataset.first;
  const other = first === "ascending" ? "descending" : "ascending";
  const order = { none: first, [first]: other, [other]: "none" }[
    heading.getAttribute("aria-sort") ?? "none"
  ];
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  if (order !== "none") heading.setAttribute("aria-sort", order);
  const numeric = heading.dataset.type === "number";
  const sign = order === "descending" ? -1 : 1;
  const lines = [...table.tBodies[0].rows].map((line) => ({
    line,
    place: Number(line.dataset.place),
    key: sortKey(line, column, numeric),
  }));
  lines.sort((a, b) => {
    if (order === "none") return a.place - b.place;
    if (a.key === null || b.key === null) {
      return (a.key === null) - (b.key === null) || a.place - b.place;
    }
    // Infinite values are equal to each other, their difference is no number.
    const difference = numeric
      ? (a.key > b.key) - (a.key < b.key)
      : compareNames(a.key, b.key);
    return sign * difference || a.place - b.place;
  });
  table.tBodies[0].append(...lines.map((each) => each.line));
};

for (const heading of document.querySelectorAll("section.table thead th")) {
  heading.querySelector("button").addEventListener("click", () => sortTable(heading));
}

// Rows by name: a line of text and a list of boxes; every table and the pictures follow.
const filter = document.getElementById("filter");
const boxes = [...document.querySelectorAll("#menu input[type=checkbox]")];
const known = new Set(boxes.map((box) => box.value));
const reset = document.getElementById("reset");

const visibleRows = () => {
  const terms = filter.value.toLowerCase().split(",").map((term) => term.trim()).filter(Boolean);
  const named = (name) => !terms.length || terms.some((term) => name.toLowerCase().includes(term));
  return new Set(boxes.filter((box) => box.checked && named(box.value)).map((box) => box.value));
};

const applyFilter = () => {
  const visible = visibleRows();
  for (const section of document.querySelectorAll("section.table")) {
    let left = 0;
    for (const line of section.querySelectorAll("tbody tr")) {
      line.hidden = known.has(line.dataset.row) && !visible.has(line.dataset.row);
      left += !line.hidden;
    }
    section.querySelector(".empty").hidden = left > 0;
  }
  const all = visible.size === boxes.length;
  document.getElementById("shown").textContent = all
    ? `${boxes.length} rows`
    : `${visible.size} of ${boxes.length} rows`;
  reset.hidden = all;
  document.dispatchEvent(new CustomEvent("rows", { detail: visible }));
};

filter.addEventListener("input", applyFilter);
document.getElementById("menu").addEventListener("change", applyFilter);
document.getElementById("menu").addEventListener("click", (event) => {
  const chosen = event.target.dataset?.choose;
  if (!chosen) return;
  for (const box of boxes) {
    box.checked = chosen === "all" || box.dataset.kind === chosen;
  }
  applyFilter();
});
document.addEventListener("click", (event) => {
  const menu = document.getElementById("menu");
  if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.getElementById("menu").open = false;
});
reset.addEventListener("click", () => {
  filter.value = "";
  for (const box of boxes) box.checked = true;
  applyFilter();
});
for (const kind of ["model", "baseline"]) {
  const some = boxes.some((box) => box.dataset.kind === kind);
  document.querySelector(`[data-choose=${kind}]`).hidden = !some;
}
