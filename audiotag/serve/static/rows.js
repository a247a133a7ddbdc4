// The rows of events: one is current; verdicts change it.

import { ask, byId, onKeys, player, playPiece, send, tell } from "./common.js";

const body = byId("rows");
let current = null;
let named = null;  // by the address: the page stays at its top

export const rows = () => (body ? [...body.rows] : []);
export const currentRow = () => current;
const rowOf = (number) => byId(`event-${number}`);

function say(name, row) {
  document.dispatchEvent(new CustomEvent(name, { detail: row }));
}

export function select(row, focus = true) {
  if (!row) return;
  if (current) {
    current.removeAttribute("aria-current");
    current.tabIndex = -1;
  }
  current = row;
  row.setAttribute("aria-current", "true");
  row.tabIndex = 0;
  if (focus) row.focus({ preventScroll: true });
  if (row !== named) row.scrollIntoView({ block: "nearest" });
  say("event-selected", row);
}

// Puts the server's row in the place of what stands there, or where its time belongs.
function show(answer) {
  if (!answer || !answer.row) return null;
  const holder = document.createElement("tbody");
  holder.innerHTML = answer.row;  // made by the server, which escapes all names
  const row = holder.rows[0];
  const old = rowOf(answer.event.number);
  const active = old?.contains(document.activeElement);
  if (old) old.replaceWith(row);
  else if (body) body.insertBefore(row, rows().find((one) => Number(one.dataset.onset) > answer.event.onset) ?? null);
  if (answer.event.status === "withdrawn") {
    const beside = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (current === old) current = null;
    if (beside) select(beside, active);
  } else if (current === old || !old) {
    current = null;
    select(row, active || !old);
  }
  say("event-changed", row);
  return row;
}

async function judge(row, said) {
  const answer = await send(`/events/${row.dataset.number}`, { ...said, version: Number(row.dataset.version) });
  const shown = show(answer);
  if (answer?.ok) {
    const { label, status } = answer.event;
    tell(`${label}: ${said.action === "note" ? "noted" : status}`);
  }
  return answer?.ok ? shown : null;
}

async function judgeAndGoOn(action) {
  const row = current;
  if (!row) return;
  const shown = await judge(row, { action });
  const next = shown?.nextElementSibling;
  if (next && current === shown) select(next);
}

export async function move(row, onset, offset) {
  return judge(row, { action: "move", onset, offset });
}

async function undo() {
  const answer = await send("/undo", {});
  show(answer);
  if (answer?.ok) tell(`Taken back: ${answer.event.label} in ${answer.event.name}`);
}

async function showHistory(row) {
  const list = byId("edit-history");
  list.replaceChildren();
  if (!row) return;
  const answer = await fetch(`/events/${row.dataset.number}/history`);
  for (const one of await answer.json()) {
    const item = document.createElement("li");
    item.textContent = `${new Date(one.moment).toLocaleString()}, ${one.who}: ${one.action} → ${one.label}, ${one.status}`;
    list.append(item);
  }
}

// The class of a form, which is a new one only where somebody says so; null where nobody does.
function newClass(label) {
  const known = [...byId("labels").options].some((option) => option.value === label);
  if (known) return false;
  if (!confirm(`There is no class “${label}” yet. Add it?`)) return null;
  const option = document.createElement("option");
  option.value = label;
  byId("labels").append(option);
  return true;
}

function fill(title, { label, onset, offset, note }) {
  byId("edit-title").textContent = title;
  byId("edit-label").value = label;
  byId("edit-onset").value = onset;
  byId("edit-offset").value = offset;
  byId("edit-note").value = note;
}

async function filled(title, values, row) {
  fill(title, values);
  showHistory(row);
  if ((await ask(byId("edit"))) !== "ok") return null;
  const label = byId("edit-label").value.trim();
  const made = newClass(label);
  if (made === null) return null;
  const [onset, offset] = [Number(byId("edit-onset").value), Number(byId("edit-offset").value)];
  return { label, new: made, onset, offset, note: byId("edit-note").value };
}

export async function edit(row) {
  if (!row) return;
  const before = { ...row.dataset };
  const said = await filled("Change", before, row);
  if (!said) return;
  let now = row;
  if (said.label !== before.label) now = now && (await judge(now, { action: "label", label: said.label, new: said.new }));
  if (said.onset !== Number(before.onset) || said.offset !== Number(before.offset)) {
    now = now && (await move(now, said.onset, said.offset));
  }
  if (said.note !== before.note) now = now && (await judge(now, { action: "note", note: said.note }));
}

export async function add(recording, onset, offset) {
  const said = await filled("Add an event", { label: current?.dataset.label ?? "", onset, offset, note: "" }, null);
  if (!said) return;
  const answer = await send(`/recordings/${recording}/events`, said);
  show(answer);
  if (answer?.ok) tell(`${answer.event.label}: added`);
}

export function playOrStop(row) {
  if (!row) return;
  if (row !== current) select(row);
  if (!player.paused && player.dataset.event === row.dataset.number) player.pause();
  else playPiece(row);
}

function step(by) {
  const all = rows();
  const place = all.indexOf(current);
  const next = all[current ? place + by : 0];
  if (next) select(next);
  else if (by > 0) byId("next")?.focus();
}

body?.addEventListener("click", (event) => {
  const row = event.target.closest("tr");
  const wanted = event.target.closest("[data-do]")?.dataset.do;
  select(row, !event.target.closest("button, a"));
  if (wanted === "play") playOrStop(row);
  else if (wanted === "edit") edit(row);
  else if (wanted) judge(row, { action: wanted });
});
body?.addEventListener("focusin", (event) => {
  const row = event.target.closest("tr");
  if (row !== current) select(row, false);
});

function showPlaying() {
  for (const row of rows()) {
    const playing = !player.paused && player.dataset.event === row.dataset.number;
    row.classList.toggle("playing", playing);
    row.querySelector("[data-do=play]").textContent = playing ? "■" : "▶";
  }
}
for (const name of ["play", "pause", "ended"]) player.addEventListener(name, showPlaying);

byId("undo").addEventListener("click", undo);
onKeys({
  "ArrowDown j": () => step(1),
  "ArrowUp k": () => step(-1),
  Space: () => playOrStop(current ?? rows()[0]),
  c: () => judgeAndGoOn("confirm"),
  x: () => judgeAndGoOn("reject"),
  e: () => edit(current),
  z: undo,
  o: () => current?.querySelector(".place a").click(),
});

named = byId(`event-${new URLSearchParams(location.search).get("event")}`);
if (named) select(named);
else if (rows().length) rows()[0].tabIndex = 0;
named = null;
