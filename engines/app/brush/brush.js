// The mask over the photo: painted, erased, undone, inverted, grown. The page's component lends
// `element`, `props`, `trigger` and `watch`. What the server gets is props.value: {mask}, a PNG whose
// opaque pixels are the mask, as large as props.picture.
const RED = "rgb(225, 29, 72)";
const KEPT = 16; // steps that can be undone
const stage = element.querySelector(".stage");
const photo = element.querySelector("img");
const canvas = element.querySelector("canvas");
const tip = element.querySelector(".tip");
const tools = element.querySelector(".tools");
const pen = canvas.getContext("2d", { willReadFrequently: true });
const language = navigator.languages.find((name) => props.texts[name.split("-")[0]]);
const texts = props.texts[(language || "en").split("-")[0]];
let erasing = false;
let last = null; // where the stroke was, in pixels of the canvas
let beside = null; // where the pointer was before it came over the picture
let spot = null; // where the keyboard's brush is
let done = [];
let undone = [];

function button(name, action, pressed) {
  const made = document.createElement("button");
  made.type = "button";
  made.dataset.tool = name;
  made.textContent = texts[name];
  if (pressed !== undefined) made.setAttribute("aria-pressed", pressed);
  made.addEventListener("click", action);
  tools.append(made);
  return made;
}

const painter = button("paint", () => choose(false), true);
const eraser = button("erase", () => choose(true), false);
const sized = document.createElement("label");
const size = document.createElement("input");
Object.assign(size, { type: "range", min: 1, max: 100, value: 55 });
sized.append(texts.size, size);
tools.append(sized);
const undoer = button("undo", () => step(done, undone));
const redoer = button("redo", () => step(undone, done));
button("invert", () => change(invert));
button("clear", () => change(() => pen.clearRect(0, 0, canvas.width, canvas.height)));
button("grow", () => change(grow));
button("shrink", () => change(() => { invert(); grow(); invert(); }));
tools.setAttribute("aria-label", texts.tools);
canvas.setAttribute("aria-label", texts.canvas);

function choose(erase) {
  erasing = erase;
  painter.setAttribute("aria-pressed", !erase);
  eraser.setAttribute("aria-pressed", erase);
}

// The brush's radius: 1 to 100 of the slider are 0.2 to 12 % of the picture's longer side.
function radius() {
  const share = 0.002 * (0.12 / 0.002) ** ((size.value - 1) / 99);
  return Math.max(1, share * Math.max(canvas.width, canvas.height));
}

function snapshot() {
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}

function remember() {
  done.push(snapshot());
  done = done.slice(-KEPT);
  undone = [];
}

function change(action) {
  if (stage.hidden) return;
  remember();
  action();
  settle();
}

function step(from, to) {
  if (!from.length) return;
  to.push(snapshot());
  pen.putImageData(from.pop(), 0, 0);
  settle();
}

// Every pixel is marked or is not; the server hears of it.
function settle() {
  const picture = snapshot();
  const bytes = picture.data;
  for (let i = 3; i < bytes.length; i += 4) {
    bytes[i] = bytes[i] > 127 ? 255 : 0;
    bytes[i - 3] = 225; bytes[i - 2] = 29; bytes[i - 1] = 72;
  }
  pen.putImageData(picture, 0, 0);
  props.value = { mask: canvas.toDataURL("image/png") };
  show();
  trigger("input");
}

function show() {
  undoer.disabled = !done.length;
  redoer.disabled = !undone.length;
  for (const each of tools.querySelectorAll("button, input")) {
    if (each !== undoer && each !== redoer) each.disabled = stage.hidden;
  }
  element.querySelector(".hint").textContent = stage.hidden ? texts.empty : texts.hint;
}

function invert() {
  pen.globalCompositeOperation = "xor";
  pen.fillStyle = RED;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.globalCompositeOperation = "source-over";
}

// By 1 % of the picture's longer side, at least a pixel: the mask moved all around.
function grow() {
  const copy = document.createElement("canvas");
  Object.assign(copy, { width: canvas.width, height: canvas.height });
  copy.getContext("2d").drawImage(canvas, 0, 0);
  const by = Math.max(1, 0.01 * Math.max(canvas.width, canvas.height));
  for (const part of [by, by / 2]) {
    for (let angle = 0; angle < 2 * Math.PI; angle += Math.PI / 16) {
      pen.drawImage(copy, part * Math.cos(angle), part * Math.sin(angle));
    }
  }
}

function stroke(from, to) {
  pen.globalCompositeOperation = erasing ? "destination-out" : "source-over";
  pen.strokeStyle = RED;
  pen.lineWidth = 2 * radius();
  pen.lineCap = "round";
  pen.beginPath();
  pen.moveTo(from.x, from.y);
  pen.lineTo(to.x + 0.01, to.y);
  pen.stroke();
  pen.globalCompositeOperation = "source-over";
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * canvas.width,
    y: ((event.clientY - box.top) / box.height) * canvas.height,
  };
}

function point(at) {
  const scale = canvas.getBoundingClientRect().width / canvas.width;
  const across = `${2 * radius() * scale}px`;
  const where = { left: `${at.x * scale}px`, top: `${at.y * scale}px` };
  Object.assign(tip.style, where, { width: across, height: across });
  tip.hidden = false;
}

// One finger paints; with a second one it was the start of a pinch.
function begin(event, from) {
  if (event.button > 0) return;
  if (!event.isPrimary) { abandon(); return; }
  event.preventDefault();
  canvas.focus({ preventScroll: true });
  try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone */ }
  remember();
  last = place(event);
  stroke(from || last, last);
  point(last);
}

function abandon() {
  if (!last) return;
  last = null;
  pen.putImageData(done.pop(), 0, 0);
  tip.hidden = true;
  show();
}

canvas.addEventListener("pointerdown", (event) => begin(event));
canvas.addEventListener("pointerenter", (event) => { // pressed beside the picture
  if (!last && event.pointerType === "mouse" && event.buttons === 1) begin(event, beside);
});
for (const move of ["pointerdown", "pointermove"]) {
  element.addEventListener(move, (event) => { beside = place(event); });
}
element.addEventListener("pointerleave", () => { beside = null; });
canvas.addEventListener("pointermove", (event) => {
  const moves = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const each of moves.length ? moves : [event]) {
    const at = place(each);
    if (last) { stroke(last, at); last = at; }
    point(at);
  }
});
canvas.addEventListener("pointerup", () => { if (last) { last = null; settle(); } });
canvas.addEventListener("pointercancel", abandon);
canvas.addEventListener("pointerleave", () => { tip.hidden = !last; });
canvas.addEventListener("blur", () => { tip.hidden = true; });

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
element.addEventListener("keydown", (event) => { // from the tools too
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.shiftKey ? step(undone, done) : step(done, undone);
    event.preventDefault();
  }
});
canvas.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) return;
  if (ARROWS[event.key]) {
    spot = spot || { x: canvas.width / 2, y: canvas.height / 2 };
    const by = event.shiftKey ? 1 : Math.max(1, radius() / 2);
    const [x, y] = ARROWS[event.key];
    spot.x = Math.min(canvas.width, Math.max(0, spot.x + x * by));
    spot.y = Math.min(canvas.height, Math.max(0, spot.y + y * by));
    point(spot);
  } else if (key === " " || key === "enter") {
    spot = spot || { x: canvas.width / 2, y: canvas.height / 2 };
    change(() => stroke(spot, spot));
    point(spot);
  } else if (key === "[" || key === "]") {
    size.value = Number(size.value) + (key === "[" ? -5 : 5);
    point(spot || { x: canvas.width / 2, y: canvas.height / 2 });
  } else if (key === "e") {
    choose(!erasing);
  } else {
    return;
  }
  event.preventDefault();
});

async function load() {
  const picture = props.picture;
  done = []; undone = []; spot = null; last = null;
  stage.hidden = !picture;
  if (!picture) { photo.removeAttribute("src"); show(); return; }
  photo.src = picture;
  photo.alt = texts.photo;
  const shown = document.querySelector("#photo img"); // HEIC or TIFF, which few browsers know
  if (shown && shown.complete && !shown.naturalWidth) shown.src = picture;
  await photo.decode();
  if (picture !== props.picture) return; // another one has come meanwhile
  canvas.width = photo.naturalWidth;
  canvas.height = photo.naturalHeight;
  stage.style.width = `min(100%, ${(60 * canvas.width) / canvas.height}vh)`;
  const mask = props.value && props.value.mask;
  if (mask) {
    const drawn = new Image();
    drawn.src = mask;
    await drawn.decode();
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(drawn, 0, 0);
  }
  show();
  element.scrollIntoView({ block: "nearest", behavior: "smooth" }); // below the fold of a phone
}

// Gradio takes every word in quotes for the name of an event of the component.
watch(Object.keys({ value: 0, picture: 0 }), load);
load();
