"""The one script of a page: tables sort by a click on a column's header, and download as CSV.

A page without JavaScript shows its tables as they are. The page's policy names the script by its hash, so no
other script runs, whatever the records say.
"""

import base64
import hashlib

# The number that a cell sorts by: its value, or the beginning of an interval; null where there is none.
SORT_VALUE = r"""
function sortValue(cell) {
  const spaced = cell.trim().replace(/\u00a0/g, " ");
  const text = spaced.replace(/\u2212/g, "-").replace(/(\d),(?=\d{3}(\D|$))/g, "$1");
  const time = text.match(/^(?:(\d+) h)? ?(?:(\d+) min)? ?(?:([\d.e-]+) s)?$/);
  if (time && text) return 3600 * (time[1] || 0) + 60 * (time[2] || 0) + Number(time[3] || 0);
  const found = text.match(
    /^(?:below |above |[<>~+\u00b1] ?)?(-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?) ?([kMBT%]?)(?![A-Za-z0-9])/
  );
  if (!found) return null;
  const sizes = {k: 1e3, M: 1e6, B: 1e9, T: 1e12};
  return Number(found[1]) * (sizes[found[2]] || 1);
}
"""

SCRIPT = (
    SORT_VALUE
    + r"""
function isEmpty(cell) { return cell.trim() === "" || cell.trim() === "\u2013"; }
function compareCells(cells) {
  const filled = cells.filter((cell) => !isEmpty(cell));
  const asNumbers = filled.filter((cell) => sortValue(cell) !== null).length > filled.length / 2;
  const value = (cell) => isEmpty(cell) ? null : asNumbers ? sortValue(cell) : cell;
  return (a, b, sign) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (asNumbers ? x - y : x.localeCompare(y, undefined, {numeric: true}));
  };
}
function sortBy(table, header) {
  const body = table.tBodies[0], rows = Array.from(body.rows), column = header.cellIndex;
  const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const text = (row) => row.cells[column].textContent;
  const compare = compareCells(rows.map(text));
  rows.sort((a, b) => compare(text(a), text(b), sign));
  for (const row of rows) body.appendChild(row);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
}
function toCsv(table) {
  const quote = (text) => /[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  const plain = (cell) => cell.textContent.replace(/\u00a0%/g, " %");  // as the page's writer was given it
  const lines = Array.from(table.rows, (row) =>
    Array.from(row.cells, (cell) => quote(plain(cell))).join(","));
  return lines.join("\r\n") + "\r\n";
}
function download(table) {
  const link = document.createElement("a"), name = table.caption.textContent;
  link.href = URL.createObjectURL(new Blob(["\ufeff" + toCsv(table)], {type: "text/csv"}));
  link.download = (name.replace(/[^A-Za-z0-9]+/g, "_").replace(/^_+|_+$/g, "") || "table") + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
function enhance(table) {
  for (const header of table.tHead.rows[0].cells) {
    header.tabIndex = 0;
    header.title = "Sort by this column";
    header.addEventListener("click", () => sortBy(table, header));
    header.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sortBy(table, header); }
    });
  }
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Download CSV";
  button.addEventListener("click", () => download(table));
  table.parentElement.after(button);
}
if (typeof document !== "undefined") {
  document.documentElement.classList.add("scripted");
  document.querySelectorAll(".scroll > table").forEach(enhance);
}
"""
)


def policy_of(script: str) -> str:
    """Return the source expression by which a page's policy lets this script run, and no other."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
