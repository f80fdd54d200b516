// Tries the rules on files that are chosen or dropped. What comes back is only ever written as text.

const form = document.getElementById("trial");
const state = document.getElementById("trial-state");
const result = document.getElementById("trial-result");
const drop = document.getElementById("drop");
const clear = document.getElementById("clear");
const csrf = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

function made(name, text = "", className = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function row(cells, kind = "td") {
  const line = document.createElement("tr");
  for (const cell of cells) line.append(cell instanceof Node ? cell : made(kind, cell));
  return line;
}

function codeLink(code) {
  const link = made("a", code);
  link.href = `/tools/help#${encodeURIComponent(code)}`;
  return link;
}

function why(rule) {
  const cell = document.createElement("td");
  const shown = rule.takes ? rule.conditions : rule.conditions.filter((answer) => !answer.holds);
  for (const answer of shown) {
    const wanted = answer.holds ? "" : `, wanted ${answer.wanted}`;
    cell.append(made("div", `${answer.attribute} is ${answer.found}${wanted}`));
  }
  if (!shown.length) cell.textContent = "takes everything";
  return cell;
}

function seriesTried(series) {
  const section = made("section", "", "series-tried");
  section.append(made("h3", `${series.files} ${series.files === 1 ? "file" : "files"}, first ${series.first_file}`));
  const taken = series.asked.some((rule) => rule.takes);
  const verdict = document.createElement("p");
  verdict.append("Outcome: ", made("strong", series.outcome), taken ? `, by rule ${series.rule}` : "");
  section.append(verdict);
  if (series.held) {
    const held = made("p", "", "warn");
    held.append("But held if these were all its slices: ", codeLink(series.held.code), ` ${series.held.sentence}`);
    section.append(held);
  }
  if (series.asked.length) {
    const table = made("table", "", "data");
    const head = document.createElement("thead");
    head.append(row(["Rule", "Action", "Takes it", "Why"], "th"));
    for (const cell of head.querySelectorAll("th")) cell.scope = "col";
    const body = document.createElement("tbody");
    for (const rule of series.asked) {
      const name = made("th", rule.name);
      name.scope = "row";
      body.append(row([name, rule.action, rule.takes ? "yes" : "no", why(rule)]));
    }
    table.append(head, body);
    const place = made("div", "", "scroll");
    Object.assign(place, { tabIndex: 0, role: "region", ariaLabel: "Rules that were asked" });
    place.append(table);
    section.append(place);
  }
  return section;
}

function turnedAway(files) {
  const section = made("section", "", "series-tried");
  section.append(made("h3", `${files.length} ${files.length === 1 ? "file" : "files"} would not be received`));
  const list = document.createElement("ul");
  for (const file of files) {
    const item = document.createElement("li");
    item.append(`${file.file}: `, codeLink(file.code), ` ${file.message}`);
    list.append(item);
  }
  section.append(list);
  return section;
}

function say(text, className = "") {
  state.textContent = text;
  state.className = className;
}

function problemOf(files) {
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  const { mostBytes, mostFiles } = form.dataset;
  if (!files.length) return "Choose at least one file.";
  if (files.length > Number(mostFiles)) return `At most ${mostFiles} files at once.`;
  if (bytes > Number(mostBytes)) return `At most ${Math.floor(Number(mostBytes) / 1048576)} MB at once.`;
  return "";
}

async function tryFiles(files) {
  result.replaceChildren();
  const problem = problemOf(files);
  if (problem) return say(problem, "bad");
  say(`Looking at ${files.length} ${files.length === 1 ? "file" : "files"}…`);
  const body = new FormData();
  for (const file of files) body.append("files", file, file.name);
  const calling = document.getElementById("calling").value.trim();
  const address = `/api/v1/rules/trial?calling=${encodeURIComponent(calling)}`;
  const answer = await fetch(address, { method: "POST", body, headers: { "X-CSRF-Token": csrf } });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const told = typeof found.message === "string" ? `${found.code}: ${found.message}` : `Refused (${answer.status}).`;
    return say(told, "bad");
  }
  for (const series of found.series) result.append(seriesTried(series));
  if (found.turned_away.length) result.append(turnedAway(found.turned_away));
  clear.hidden = false;
  const away = found.turned_away.length;
  const refused = away ? ` ${away} ${away === 1 ? "file" : "files"} would not be received.` : "";
  say(`${found.series.length} series.${refused} Nothing was kept.`);
}

function start(files) {
  tryFiles(files).catch(() => say("The node did not answer. Nothing was kept.", "bad"));
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start([...document.getElementById("files").files]);
  });
  clear.addEventListener("click", () => {
    form.reset();
    result.replaceChildren();
    say("");
    clear.hidden = true;
    document.getElementById("files").focus();
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    start([...event.dataTransfer.files]);
  });
}
