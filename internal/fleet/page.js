// Each title becomes a button that sorts the table by its column. Cells without a value stay last.
const table = document.querySelector("table");
const titles = [...table.tHead.rows[0].cells];
const order = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  if (a.dataset.sort && b.dataset.sort) return a.dataset.sort - b.dataset.sort;
  return order.compare(a.textContent, b.textContent);
}

function sort(index) {
  const descending = titles[index].ariaSort === "ascending";
  for (const title of titles) title.ariaSort = null;
  titles[index].ariaSort = descending ? "descending" : "ascending";
  const empty = row => !row.cells[index].textContent || row.cells[index].classList.contains("unknown");
  const rows = [...table.tBodies[0].rows].sort((a, b) =>
    empty(a) - empty(b) || compare(a.cells[index], b.cells[index]) * (descending ? -1 : 1));
  table.tBodies[0].append(...rows);
}

titles.forEach((title, index) => {
  const button = document.createElement("button");
  button.append(...title.childNodes);
  button.type = "button";
  button.addEventListener("click", () => sort(index));
  title.append(button);
});
