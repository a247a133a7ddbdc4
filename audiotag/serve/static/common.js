// What all pages share: who is there, what is sent to the server, what is said at the bottom, keys, and playing a piece.

export const byId = (id) => document.getElementById(id);

const told = byId("told");

export function tell(text, wrong = false) {
  told.textContent = text;
  told.className = wrong ? "wrong" : "";
}

export function kept(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(`audiotag-${name}`, value);
    return localStorage.getItem(`audiotag-${name}`) ?? "";
  } catch {
    return value ?? "";  // a browser that keeps nothing asks each time
  }
}

// Opens a dialog; resolves to what it was closed with, "" where it was left.
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue), { once: true }));
}

let name = kept("who");

function showName() {
  byId("who").textContent = name || "Who are you?";
}

export async function who(change = false) {
  if (!name || change) {
    byId("name-text").value = name;
    if ((await ask(byId("name"))) === "ok") name = kept("who", byId("name-text").value.trim());
    showName();
  }
  return name;
}

// Sends JSON with the name of the one who is there; null where nobody says it, or the server cannot be reached.
export async function send(address, said) {
  const author = await who();
  if (!author) return null;
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify({ ...said, who: author }),
    });
  } catch {
    tell("The server cannot be reached: nothing was saved.", true);
    return null;
  }
  const content = await answer.json();
  if (!answer.ok) tell(content.error, true);
  return { ok: answer.ok, status: answer.status, ...content };
}

// One piece is played at a time, by an element of its own.
export const player = new Audio();
player.preload = "auto";
export const AROUND = 1;  // seconds before and after an event

export function playPiece(row) {
  const start = Math.max(0, Number(row.dataset.onset) - AROUND);
  const stop = Math.min(Number(row.dataset.offset) + AROUND, start + 120);
  const louder = byId("louder").checked ? "&louder=1" : "";
  player.dataset.start = start;
  player.dataset.event = row.dataset.number;
  player.dataset.recording = row.dataset.recording;
  player.src = `/recordings/${row.dataset.recording}/piece.wav?start=${start}&stop=${stop}${louder}`;
  player.play().catch((error) => {
    if (error.name !== "AbortError") tell("This recording cannot be played.", true);
  });
}

// Keys act where no field has the focus, and not together with Ctrl, Alt or Meta.
const actions = new Map();

export function onKeys(more) {
  for (const [keys, action] of Object.entries(more)) for (const key of keys.split(" ")) actions.set(key, action);
}

document.addEventListener("keydown", (event) => {
  const place = event.target;
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (place.matches("input:not([type=checkbox]), select, textarea, audio")) return;
  if (event.key === " " && place.matches("button, summary, input, a")) return;
  const action = actions.get(event.key === " " ? "Space" : event.key);
  if (action && action(event) !== false) event.preventDefault();
});

onKeys({ "?": () => ask(byId("keys")) });
byId("help").addEventListener("click", () => ask(byId("keys")));
byId("who").addEventListener("click", () => who(true));
byId("louder").checked = kept("louder") === "1";
byId("louder").addEventListener("change", (event) => kept("louder", event.target.checked ? "1" : "0"));
showName();
