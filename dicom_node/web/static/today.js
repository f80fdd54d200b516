// Keeps the page of today true while it is open: rows change in place, focus and scroll stay where they are.
// Everything is shown as text; nothing that comes from a header is ever taken for markup.

import { BY_ITSELF } from "./by_itself.js";

const rows = document.getElementById("cases");
const live = document.getElementById("live");
const said = document.getElementById("said");
const takesNew = Number(rows.dataset.takesNew || 0);
const AGES_EVERY_MS = 20000;

function age(since) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(since)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function putAges(within) {
  for (const time of within.querySelectorAll("time[data-age]")) {
    const ago = time.dataset.ago === undefined ? "" : " ago";
    if (time.dateTime) put(time, age(time.dateTime) + ago);
  }
}

function field(row, name) {
  return row.querySelector(`[data-field="${name}"]`);
}

function fill(row, told) {
  row.id = `case-${told.case_id}`;
  const state = field(row, "state");
  put(state, told.state.replaceAll("_", " "));
  state.className = `badge badge-${told.state.toLowerCase()}`;
  put(field(row, "code"), told.code);
  const who = field(row, "who");
  who.href = `/cases/${encodeURIComponent(told.case_id)}`;
  const patient = told.patient;
  put(who, patient ? patient.name || patient.patient_id || "no name" : `Case ${told.case_id.slice(0, 8)}`);
  if (patient) {
    put(field(row, "patient_id"), patient.patient_id);
    const study = [patient.study_date, patient.series_description, patient.accession_number];
    put(field(row, "study"), study.filter(Boolean).join(" · "));
  }
  put(field(row, "doing"), told.progress || told.stage);
  const severity = told.severity ? ` (${told.severity})` : "";
  put(field(row, "findings"), told.findings ? `${told.findings}${severity}` : "");
  for (const name of ["created_at", "updated_at"]) {
    const time = field(row, name);
    time.dateTime = told[name];
    time.title = new Date(told[name]).toLocaleString();
  }
  put(field(row, "from"), [told.calling_ae_title, told.rule].filter(Boolean).join(" · "));
  putAges(row);
}

function showNewcomers() {
  document.getElementById("newcomers").hidden = false;
}

function takeCase(told) {
  const row = document.getElementById(`case-${told.case_id}`);
  if (row) {
    const before = field(row, "state").textContent;
    fill(row, told);
    if (before !== field(row, "state").textContent) put(said, `Case ${told.case_id.slice(0, 8)}: ${field(row, "state").textContent}`);
    return;
  }
  const newest = rows.querySelector("time[data-field=created_at]");
  if (!takesNew || (newest && Date.parse(newest.dateTime) > Date.parse(told.created_at))) {
    if (!newest || Date.parse(newest.dateTime) < Date.parse(told.created_at)) showNewcomers();
    return;
  }
  const made = document.getElementById("case-row").content.firstElementChild.cloneNode(true);
  fill(made, told);
  rows.prepend(made);
  document.getElementById("none").hidden = true;
  const last = rows.lastElementChild;
  if (rows.children.length > takesNew && !last.contains(document.activeElement)) last.remove();
  put(said, `New case ${told.case_id.slice(0, 8)}`);
}

function takeGone(told) {
  for (const id of told.cases) {
    const row = document.getElementById(`case-${id}`);
    if (row && row.contains(document.activeElement)) rows.closest(".scroll").focus({ preventScroll: true });
    if (row) row.remove();
  }
}

// Takes a part of another reading of this page in place of ours, and keeps the focus where it was.
function exchange(id, from) {
  const ours = document.getElementById(id);
  const other = from.getElementById(id);
  if (!ours || !other || ours.innerHTML === other.innerHTML) return;
  const focused = ours.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  ours.replaceChildren(...document.importNode(other, true).childNodes);
  if (focused) [...ours.querySelectorAll("a[href]")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
}

async function read(address) {
  const answer = await fetch(address, { credentials: "same-origin", headers: BY_ITSELF });
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

const PARTS = ["alarms", "cases-by-state", "destinations", "machine", "arrivals"];

async function takeNode() {
  try {
    const part = await read("/today/node");
    for (const id of PARTS) exchange(id, part);
    putAges(document);
  } catch {
    put(live, "The node does not answer; what is shown may be old.");
  }
}

async function readAnew() {
  try {
    const whole = await read(location.href);
    for (const id of [...PARTS, "list-head", "cases"]) exchange(id, whole);
    document.getElementById("none").hidden = rows.children.length > 0;
    putAges(document);
  } catch {
    put(live, "The page cannot be read anew; what is shown may be old.");
  }
}

function end(words) {
  live.replaceChildren(words, " ");
  const link = document.createElement("a");
  link.href = location.href;
  link.textContent = "Read the page anew";
  live.append(link);
}

function listen() {
  const source = new EventSource(`/api/v1/events?after=${encodeURIComponent(rows.dataset.after)}`);
  source.addEventListener("open", () => put(live, "Live: what changes is shown as it changes."));
  source.addEventListener("case", (event) => takeCase(JSON.parse(event.data)));
  source.addEventListener("gone", (event) => takeGone(JSON.parse(event.data)));
  source.addEventListener("node", takeNode);
  source.addEventListener("reset", readAnew);
  source.addEventListener("ended", () => {
    source.close();
    end("Your session has ended.");
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) end("Not live any more.");
    else put(live, "Not live: the node does not answer. Trying again.");
  });
  addEventListener("pagehide", () => source.close());
}

setInterval(() => putAges(document), AGES_EVERY_MS);
putAges(document);
listen();
