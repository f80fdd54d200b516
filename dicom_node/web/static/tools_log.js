// Follows the log: asks for what came since the last answer, and puts it on top.

import { BY_ITSELF } from "./by_itself.js";

const table = document.getElementById("log");
const body = table.querySelector("tbody");
const follow = document.getElementById("follow");
const state = document.getElementById("log-state");
const LOOK_MS = 2000;
let after = table.dataset.after;

function made(name, text = "", className = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function cell(...content) {
  const element = document.createElement("td");
  element.append(...content);
  return element;
}

function caseLink(id) {
  if (!id) return "";
  const link = made("a", id);
  link.href = `/cases/${encodeURIComponent(id)}`;
  return link;
}

function rowOf(line) {
  const row = document.createElement("tr");
  const fields = cell();
  fields.className = "fields";
  for (const [key, value] of Object.entries(line.fields)) {
    const field = document.createElement("span");
    field.append(made("span", key, "muted"), ` ${value}`);
    fields.append(field, " ");
  }
  row.append(
    cell(made("time", line.at)), cell(made("span", line.level, `badge badge-${line.level}`)), cell(line.event),
    cell(caseLink(line.case)), fields,
  );
  return row;
}

async function look() {
  const asked = new URLSearchParams({ level: table.dataset.level, case: table.dataset.case, after });
  const answer = await fetch(`/api/v1/log?${asked}`, { headers: BY_ITSELF });
  if (!answer.ok) throw new Error(String(answer.status));
  const tail = await answer.json();
  after = tail.after || after;
  for (const line of tail.lines) body.prepend(rowOf(line));
  while (body.rows.length > Number(table.dataset.most)) body.lastElementChild.remove();
  if (tail.lines.length) {
    document.getElementById("log-none").hidden = true;
    state.textContent = `${tail.lines.length} new lines`;
  }
}

async function go() {
  for (;;) {
    await new Promise((wake) => setTimeout(wake, LOOK_MS));
    if (!follow.checked || document.hidden) continue;
    try {
      await look();
    } catch {
      state.textContent = "The node does not answer.";
    }
  }
}

go();
