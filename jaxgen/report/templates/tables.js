"use strict";
const keyOf = (cell) => {
  const text = cell.textContent.trim();
  if (text === "" || text === "-") return null;
  return cell.dataset.value === undefined ? text : Number(cell.dataset.value);
};
const compare = (one, other) => {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
};
for (const table of document.querySelectorAll("table[data-many]")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
      heads.forEach((each) => each.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [keyOf(row.cells[column]), row]);
      rows.sort(([one], [other]) => {
        if (one === null || other === null) return (one === null) - (other === null);
        return sign * compare(one, other);
      });
      rows.forEach(([, row]) => body.append(row));
    });
  });
  const filter = document.querySelector(".filter");
  const input = filter.querySelector("input");
  const shown = filter.querySelector("output");
  const apply = () => {
    const terms = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of body.rows) {
      const text = [...row.cells].map((cell, n) => `${heads[n].textContent}=${cell.textContent.trim()}`).join(" ");
      row.hidden = !terms.every((term) => text.toLowerCase().includes(term));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = `${count} of ${body.rows.length} rows`;
  };
  input.addEventListener("input", apply);
  filter.hidden = false;
  apply();
}
