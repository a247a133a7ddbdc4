// The picture of one recording: tiles that the server draws, events over them, a line where it is played.

import { byId, onKeys, player } from "./common.js";
import { add, currentRow, move, playOrStop, rows, select } from "./rows.js";

const TILE = 256;  // pixels of a tile of the server
const LEVELS = 19;
const WIDEST = 8_000_000;  // pixels that browsers lay out

const section = document.querySelector(".sound");
if (section) begin(section);

function begin(section) {
  const [scroll, track, tiles, boxes, drawn, head, ticks] =
    [".scroll", ".track", ".tiles", ".boxes", ".drawn", ".head", ".ticks"].map((name) => section.querySelector(name));
  const audio = section.querySelector("audio");
  const key = section.dataset.key;
  const seconds = Number(section.dataset.seconds);
  const shown = new Map();
  let scale = 0;  // pixels a second
  let at = 0;  // where the line is, in seconds

  const least = () => scroll.clientWidth / seconds;
  const most = () => Math.max(least(), Math.min(1024, WIDEST / seconds));
  const timeAt = (event) =>
    Math.min(Math.max((event.clientX - track.getBoundingClientRect().left) / scale, 0), seconds);

  for (const label of section.querySelectorAll("[data-height]")) label.style.bottom = `${label.dataset.height * 100}%`;

  function zoom(wanted, about = at) {
    const offset = about * scale - scroll.scrollLeft;
    const inside = scale && offset >= 0 && offset <= scroll.clientWidth ? offset : scroll.clientWidth / 2;
    scale = Math.min(Math.max(wanted, least()), most());
    track.style.width = `${seconds * scale}px`;
    scroll.scrollLeft = about * scale - inside;
    draw();
    place();
  }

  // What lies in view, and a little beside it.
  function span() {
    const margin = scroll.clientWidth / 2;
    return [(scroll.scrollLeft - margin) / scale, (scroll.scrollLeft + scroll.clientWidth + margin) / scale];
  }

  function draw() {
    const [from, to] = span();
    drawTiles(from, to);
    drawBoxes(from, to);
    drawTicks(from, to);
  }

  function drawTiles(from, to) {
    const level = Math.min(Math.max(Math.round(Math.log2(TILE / scale)) + 1, 0), LEVELS - 1);
    const length = 2 ** (level - 1);
    const wanted = new Set();
    const last = Math.min(Math.floor(to / length), Math.ceil(seconds / length) - 1);
    for (let index = Math.max(0, Math.floor(from / length)); index <= last; index += 1) {
      for (const kind of ["spectrogram", "waveform"]) {
        const name = `${kind}/${level}/${index}`;
        wanted.add(name);
        if (!shown.has(name)) {
          const picture = new Image();
          picture.alt = "";
          picture.className = kind;
          picture.draggable = false;
          picture.src = `/recordings/${key}/${name}.png`;
          tiles.append(picture);
          shown.set(name, picture);
        }
        const picture = shown.get(name);
        picture.style.left = `${index * length * scale}px`;
        picture.style.width = `${length * scale + 0.5}px`;
      }
    }
    for (const [name, picture] of shown) {
      if (wanted.has(name)) continue;
      picture.remove();
      shown.delete(name);
    }
  }

  function drawBoxes(from, to) {
    const ends = [];  // of the lanes, so that names do not lie over each other
    const found = rows().filter((row) => Number(row.dataset.offset) >= from && Number(row.dataset.onset) <= to);
    boxes.replaceChildren(...found.map((row) => {
      const { onset, offset, label, status, number } = row.dataset;
      const box = document.createElement("div");
      const text = document.createElement("span");
      text.textContent = label;
      box.append(text);
      box.className = `box ${status}`;
      box.dataset.number = number;
      box.title = `${label}, ${Number(onset).toFixed(2)} – ${Number(offset).toFixed(2)} s, ${status}`;
      box.style.left = `${onset * scale}px`;
      box.style.width = `${Math.max((offset - onset) * scale, 2)}px`;
      let lane = ends.findIndex((end) => end <= onset * scale);
      if (lane < 0) lane = ends.length;
      ends[lane] = Math.max(offset * scale, onset * scale + 8 * label.length);
      text.style.top = `${(lane % 9) * 1.3}em`;
      if (row === currentRow()) {
        box.classList.add("current");
        for (const side of ["onset", "offset"]) box.append(handle(side));
      }
      return box;
    }));
  }

  function handle(side) {
    const grip = document.createElement("i");
    grip.className = `grip ${side}`;
    grip.dataset.side = side;
    return grip;
  }

  function drawTicks(from, to) {
    const wide = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200].find((one) => one * scale >= 70) ?? 14400;
    const marks = [];
    for (let mark = Math.max(0, Math.ceil(from / wide)); mark * wide <= Math.min(to, seconds); mark += 1) {
      const tick = document.createElement("span");
      tick.textContent = clock(mark * wide, wide < 1 ? 1 : 0);
      tick.style.left = `${mark * wide * scale}px`;
      marks.push(tick);
    }
    ticks.replaceChildren(...marks);
  }

  function clock(time, digits) {
    if (seconds < 120) return `${time.toFixed(digits)} s`;
    const whole = Math.floor(time);
    const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const rest = digits ? (time % 1).toFixed(digits).slice(1) : "";
    return (seconds < 3600 ? parts.slice(1) : parts).map((one) => String(one).padStart(2, "0")).join(":") + rest;
  }

  function place() {
    head.style.left = `${at * scale}px`;
    head.setAttribute("aria-valuenow", at.toFixed(2));
    head.setAttribute("aria-valuetext", clock(at, 2));
    byId("at").textContent = clock(at, 2);
  }

  function go(time, follow = true) {
    at = Math.min(Math.max(time, 0), seconds);
    const left = at * scale;
    if (follow && (left < scroll.scrollLeft || left > scroll.scrollLeft + scroll.clientWidth)) {
      scroll.scrollLeft = left - scroll.clientWidth / 4;
    }
    place();
  }

  function seek(time) {
    go(time);
    if (audio.readyState || !audio.paused) audio.currentTime = at;
  }

  // While something is played, the line follows it.
  function follow() {
    if (!audio.paused) go(audio.currentTime);
    else if (!player.paused) go(Number(player.dataset.start) + player.currentTime);
    if (!audio.paused || !player.paused) requestAnimationFrame(follow);
  }
  audio.addEventListener("play", () => {
    player.pause();
    if (Math.abs(audio.currentTime - at) > 0.05 && at < seconds - 0.05) audio.currentTime = at;
    follow();
  });
  audio.addEventListener("seeked", () => audio.paused && go(audio.currentTime));
  player.addEventListener("play", () => {
    audio.pause();
    follow();
  });

  // A press on a border moves it; elsewhere it puts the line there, or draws a new event.
  let pressed = null;
  track.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const grip = event.target.closest(".grip");
    const box = event.target.closest(".box");
    pressed = { at: timeAt(event), x: event.clientX, side: grip?.dataset.side, box, touch: event.pointerType === "touch" };
    if (grip || !pressed.touch) track.setPointerCapture(event.pointerId);
  });
  track.addEventListener("pointermove", (event) => {
    if (!pressed || (pressed.touch && !pressed.side)) return;
    const time = timeAt(event);
    if (pressed.side) {
      const [onset, offset] = borders(pressed.side, time);
      pressed.box.style.left = `${onset * scale}px`;
      pressed.box.style.width = `${(offset - onset) * scale}px`;
    } else if (Math.abs(event.clientX - pressed.x) > 6) {
      pressed.drawn = [Math.min(pressed.at, time), Math.max(pressed.at, time)];
      drawn.hidden = false;
      drawn.style.left = `${pressed.drawn[0] * scale}px`;
      drawn.style.width = `${(pressed.drawn[1] - pressed.drawn[0]) * scale}px`;
    }
  });
  track.addEventListener("pointerup", async (event) => {
    const one = pressed;
    pressed = null;
    if (!one) return;
    if (one.side) await setBorder(one.side, timeAt(event));
    else if (one.drawn) await add(key, ...one.drawn.map(rounded));
    else {
      seek(one.at);
      if (one.box) select(byId(`event-${one.box.dataset.number}`), false);
    }
    drawn.hidden = true;
  });
  track.addEventListener("pointercancel", () => {
    pressed = null;
    drawn.hidden = true;
    draw();
  });

  const rounded = (time) => Math.round(time * 1000) / 1000;

  function borders(side, time) {
    const { onset, offset } = currentRow().dataset;
    return side === "onset"
      ? [Math.min(rounded(time), offset - 0.01), Number(offset)]
      : [Number(onset), Math.max(rounded(time), Number(onset) + 0.01)];
  }

  async function setBorder(side, time) {
    if (!currentRow()) return;
    await move(currentRow(), ...borders(side, time));
    draw();
  }

  document.addEventListener("event-selected", ({ detail: row }) => {
    const [onset, offset] = [Number(row.dataset.onset), Number(row.dataset.offset)];
    const [left, right] = [onset * scale, offset * scale];
    if (left < scroll.scrollLeft || right > scroll.scrollLeft + scroll.clientWidth) {
      scroll.scrollLeft = (left + right - scroll.clientWidth) / 2;
    }
    if (player.paused && audio.paused) go(onset, false);
    draw();
  });
  document.addEventListener("event-changed", draw);

  let asked = false;
  scroll.addEventListener("scroll", () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  });
  scroll.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(scale * 2 ** (-event.deltaY / 200), timeAt(event));
  }, { passive: false });
  new ResizeObserver(() => zoom(scale || least())).observe(scroll);

  byId("nearer").addEventListener("click", () => zoom(scale * 2));
  byId("farther").addEventListener("click", () => zoom(scale / 2));
  byId("whole").addEventListener("click", () => zoom(0));
  byId("add").addEventListener("click", () => addHere());
  const addHere = () => add(key, rounded(at), rounded(Math.min(at + 1, seconds)));
  const step = () => scroll.clientWidth / scale / 50;
  onKeys({
    p: () => (audio.paused ? audio.play() : audio.pause()),
    ArrowLeft: () => seek(at - step()),
    ArrowRight: () => seek(at + step()),
    "+ =": () => zoom(scale * 2),
    "-": () => zoom(scale / 2),
    0: () => zoom(0),
    "[": () => setBorder("onset", at),
    "]": () => setBorder("offset", at),
    a: addHere,
  });

  zoom(0);
  const first = currentRow();
  if (first) {
    zoom(scroll.clientWidth / Math.max(6, (first.dataset.offset - first.dataset.onset) * 3), Number(first.dataset.onset));
    select(first, false);
  }
}
