"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;

// Colours of charts are those of the page.
function config() {
  const styles = getComputedStyle(root);
  const colour = (name) => styles.getPropertyValue(name).trim();
  const colours = [colour("--one"), colour("--two"), colour("--three")];
  const text = { labelColor: colour("--quiet"), titleColor: colour("--quiet"), titleFontWeight: "normal" };
  return {
    background: null,
    font: "system-ui, sans-serif",
    axis: { ...text, gridColor: colour("--grid"), domainColor: colour("--line"), tickColor: colour("--line"), labelFontSize: 11, titleFontSize: 11 },
    legend: { ...text, labelFontSize: 11, symbolType: "square" },
    range: { category: colours },
    mark: { color: colours[0] },
    bar: { color: colours[0] },
  };
}

function draw(place, spec) {
  const options = { mode: "vega-lite", renderer: "svg", actions: false, config: config(), tooltip: { theme: "custom" } };
  return vegaEmbed(place, spec, options).catch((error) => {
    place.textContent = `The chart cannot be drawn: ${error.message}`;
    throw error;
  });
}

function cells(row, tag, isNumber) {
  const line = document.createElement("tr");
  row.forEach((text, column) => {
    const cell = document.createElement(tag);
    if (isNumber[column]) cell.className = "num";
    cell.textContent = text;
    line.append(cell);
  });
  return line;
}

function drawChoice(picker) {
  const { spec, choices } = data[picker.dataset.picker];
  const choice = choices[picker.querySelector("select").value];
  const chosen = structuredClone(spec);
  chosen.data = { values: choice.data };
  for (const [channel, title] of Object.entries(choice.titles)) chosen.encoding[channel].title = title;
  picker.querySelector("thead").replaceChildren(cells(choice.headings, "th", choice.numeric));
  picker.querySelector("tbody").replaceChildren(...choice.rows.map((row) => cells(row, "td", choice.numeric)));
  picker.querySelector("p.note").textContent = choice.note;
  return draw(picker.querySelector(".chart"), chosen);
}

function drawAll() {
  const plain = [...document.querySelectorAll("[data-chart]")].map((place) => draw(place, data[place.dataset.chart]));
  const chosen = [...document.querySelectorAll("[data-picker]")].map(drawChoice);
  return Promise.all([...plain, ...chosen]).then(() => { root.dataset.drawn = root.dataset.theme; });
}

function setTheme(theme) {
  root.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.setAttribute("aria-pressed", String(theme === "dark"));
  button.textContent = theme === "dark" ? "Light" : "Dark";
  return drawAll();
}

function sortBy(heading) {
  const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
  const down = heading.getAttribute("aria-sort") === (heading.classList.contains("num") ? null : "ascending");
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[column].dataset.sort;
  const compare = heading.classList.contains("num")
    ? (a, b) => (key(a) === "" ? -Infinity : Number(key(a))) - (key(b) === "" ? -Infinity : Number(key(b)))
    : (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
  body.append(...[...body.rows].sort((a, b) => (down ? compare(b, a) : compare(a, b))));
}

function search(input) {
  const tools = input.closest(".tools"), rows = [...tools.nextElementSibling.querySelector("tbody").rows];
  const wanted = input.value.trim().toLowerCase();
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  const shown = rows.filter((row) => !row.hidden).length;
  tools.querySelector(".found").textContent = wanted ? `${shown} of ${rows.length} rows` : "";
}

document.getElementById("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
for (const heading of document.querySelectorAll(".sortable th")) heading.querySelector("button")?.addEventListener("click", () => sortBy(heading));
for (const input of document.querySelectorAll("[data-search]")) input.addEventListener("input", () => search(input));
for (const picker of document.querySelectorAll("[data-picker]")) picker.querySelector("select").addEventListener("change", () => drawChoice(picker));
const dark = window.matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
setTheme(dark.matches ? "dark" : "light");
