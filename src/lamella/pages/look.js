// The page to try a network on: what is dropped goes to this machine's own program, what comes back is drawn here.
"use strict";

const at = id => document.getElementById(id);
const LAYERS = ["Outline", "Mask", "Objects", "Probability", "Uncertainty", "Image"];
// Dark blue to yellow, told apart by everyone and in print.
const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const NONE = { problem: "the program of this page does not answer", remedy: "Is it still running? Start it again." };

let about = null;    // of the network
let picture = null;  // that is open
let page = 0;        // of it
let found = null;    // {share, classes, spread, numbers} of the page: typed arrays, a value a pixel
let threshold = 0.5;
let layer = "Outline";
let turn = 0;        // counts what is opened, so that late answers are dropped
const view = { scale: 1, x: 0, y: 0 };

class Refused extends Error {
  constructor(said) { super(said.problem); this.said = said; }
}

async function ask(address, options) {
  let answer;
  try { answer = await fetch(address, options); } catch { throw new Refused(NONE); }
  if (answer.ok) return answer;
  let said;
  try { said = await answer.json(); } catch { said = { problem: `the program answered ${answer.status}`, remedy: "" }; }
  throw new Refused(said);
}

const where = what => `pictures/${picture.id}/${page}/${what}`;
const json = async address => (await ask(address)).json();
const bytes = async address => (await ask(address)).arrayBuffer();

function show(error) {
  at("error").hidden = !error;
  if (!error) return;
  const said = error.said || { problem: String(error), remedy: "" };
  at("error").querySelector(".problem").textContent = capital(said.problem) + ".";
  at("error").querySelector(".remedy").textContent = said.remedy;
}

const capital = text => text.charAt(0).toUpperCase() + text.slice(1);

function busy(text, share) {
  at("busy").hidden = text === null;
  if (text === null) return;
  at("doing").textContent = text;
  if (share === undefined) at("progress").removeAttribute("value"); else at("progress").value = share;
}

// Opening

async function open(send, name) {
  const mine = ++turn;
  show(null);
  busy(`Reading ${name}`);
  try {
    const next = await (await send()).json();
    if (mine !== turn) { forget(next); return; }
    if (picture) forget(picture);
    picture = next;
    await turnTo(0, true);
  } catch (error) {
    if (mine !== turn) return;
    busy(null);
    show(error);
  }
}

function openFile(file) {
  if (!file) return;
  if (file.size > about.uploadBytes) {
    show(new Refused({
      problem: `${file.name} has ${Math.ceil(file.size / 1e6)} MB, and this page takes ${about.uploadBytes / 1e6}`,
      remedy: "Start it with more, upload_mb=...; or let predict.py read the file where it lies: " +
        "python scripts/predict.py run=ID input=FILE output=FOLDER.",
    }));
    return;
  }
  const headers = { "X-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" };
  if (at("axes").value.trim()) headers["X-Axes"] = at("axes").value.trim().slice(0, 9);
  open(() => ask("pictures", { method: "POST", body: file, headers }), file.name);
}

const openExample = () => open(() => ask("example", { method: "POST" }), "a test image");
const forget = one => navigator.sendBeacon(`pictures/${one.id}/close`);

async function turnTo(number, first) {
  const mine = first ? turn : ++turn;
  page = number;
  found = null;
  at("drop").hidden = true;
  at("view").hidden = at("of-picture").hidden = false;
  at("results").hidden = true;
  describe();
  if (first) fillChannels();
  for (const id of ["image", "layer"]) { at(id).width = picture.width; at(id).height = picture.height; }
  if (first) fit();
  drawImage();
  try {
    await ask(where("predict"), { method: "POST" });
    let said;
    for (;;) {
      said = await json(where("progress"));
      if (mine !== turn) return;
      if (said.state === "failed") throw new Refused(said);
      if (said.state === "done") break;
      if (said.state === "waiting") busy(`Waiting: ${said.waiting} in the line`);
      else busy(`Predicting ${picture.name}`, said.done || undefined);
      await new Promise(done => setTimeout(done, 200));
    }
    const next = { spread: null };
    if (about.two) {
      next.share = new Float32Array(await bytes(where("probability")));
    } else {
      next.classes = new Uint8Array(await bytes(where("classes")));
      next.share = await likeliest();
    }
    if (said.spread) next.spread = new Float32Array(await bytes(where("spread")));
    if (mine !== turn) return;
    found = next;
    busy(null);
    judge(said);
    at("results").hidden = false;
    draw();
    await count();
  } catch (error) {
    if (mine !== turn) return;
    busy(null);
    show(error);
  }
}

const likeliest = async () => new Float32Array(await bytes(where(`probability?class=${at("class").value || 1}`)));

// Words and lists

function judge({ unlike, reasons }) {
  const why = (reasons || []).join("; ");
  at("unlike").className = unlike ? "yes" : "";
  at("unlike").textContent = unlike ? `Unlike the images that the network learned from: ${why}. Do not trust it unseen.`
    : unlike === false ? "Like the images that the network learned from." : `Like its training images? ${capital(why)}.`;
}

function describe() {
  const { width, height, channels, dtype, pixelNm, name, pages } = picture;
  const size = pixelNm ? `, a pixel is ${round(pixelNm[1])} × ${round(pixelNm[0])} nm` : ", the size of a pixel is not told";
  at("about").textContent = `${name}: ${width} × ${height}, ${channels} channel${channels > 1 ? "s" : ""}, ${dtype}${size}`;
  at("of-page").hidden = pages < 2;
  at("page").max = pages - 1;
  at("page").value = page;
  at("page-value").textContent = `${page + 1} of ${pages}`;
}

const percent = share => `${(100 * share).toFixed(1)} %`;
const round = value => String(Number(value.toPrecision(4)));

function fillChannels() {
  const options = Array.from({ length: picture.channels }, (_, i) => [String(i), String(i + 1)]);
  if (picture.channels === 3) options.unshift(["", "all, as colours"]);
  fill(at("channel"), options);
  at("of-channel").hidden = picture.channels < 2;
  at("stretched").checked = picture.dtype !== "uint8";
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
}

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

let counted = 0;
async function count() {
  const mine = ++counted;
  const asked = threshold;
  at("counting").textContent = "Counting…";
  try {
    const said = await json(where(`objects?threshold=${asked}`));
    if (mine !== counted) return;
    const rows = said.groups.map(group => {
      const row = element("tr");
      const colour = about.classes.find(each => each.name === group.class);
      const name = element("td");
      if (colour) {
        const swatch = element("span");
        swatch.className = "swatch";
        swatch.style.background = css(colour.colour);
        name.append(swatch);
      }
      name.append(group.class);
      const median = group.median === null ? "–" : `${round(group.median)} ${said.unit}`;
      row.append(name, element("td", group.count), element("td", percent(group.share)), element("td", median));
      return row;
    });
    at("found").tBodies[0].replaceChildren(...rows);
    at("found").dataset.threshold = asked;
    at("found").classList.remove("stale");
    const what = { cells: "Cells, cut where they touch", neurites: "Regions between membranes" }[about.objects];
    at("counting").textContent = `${what || "Connected regions"}; the smallest are left out, as by predict.`;
    fillRows(said.rows, said.count);
    fillDownloads();
    if (layer === "Objects") await drawObjects();
  } catch (error) {
    if (mine !== counted) return;
    at("counting").textContent = "";
    show(error);
  }
}

function fillRows(columns, total) {
  const names = Object.keys(columns);
  const head = element("tr");
  head.append(...names.map(name => element("th", name)));
  at("rows").tHead.replaceChildren(head);
  const shown = (columns[names[0]] || []).map((_, i) => {
    const row = element("tr");
    row.append(...names.map(name => {
      const value = columns[name][i];
      return element("td", value === null ? "–" : typeof value === "number" ? round(value) : value);
    }));
    return row;
  });
  at("rows").tBodies[0].replaceChildren(...shown);
  at("of-rows").querySelector("summary").textContent =
    total > shown.length ? `The first ${shown.length} of ${total}, as in objects.csv` : `All ${total}, as in objects.csv`;
}

function fillDownloads() {
  const kinds = [["labels.tif", "class ids, TIFF"], ["objects.tif", "numbered objects, TIFF"], ["objects.csv", "table of objects"]];
  if (about.probabilities) kinds.push(["probability.tif", "probabilities, TIFF"]);
  if (found.spread) kinds.push(["uncertainty.tif", "how far views or networks differ, TIFF"]);
  const items = kinds.map(([kind, words]) => {
    const link = element("a", words);
    link.href = where(`files/${kind}?threshold=${threshold}`);
    link.download = "";
    link.id = `get-${kind.replace(".", "-")}`;
    const item = element("li");
    item.append(link);
    return item;
  });
  const seen = element("button", "picture as it is shown, PNG");
  seen.type = "button";
  seen.className = "link";
  seen.id = "get-overlay";
  seen.addEventListener("click", saveSeen);
  const item = element("li");
  item.append(seen);
  at("downloads").replaceChildren(...items, item);
}

function saveSeen() {
  const whole = document.createElement("canvas");
  whole.width = picture.width;
  whole.height = picture.height;
  const pen = whole.getContext("2d");
  pen.drawImage(at("image"), 0, 0);
  pen.globalAlpha = opacity();
  pen.drawImage(at("layer"), 0, 0);
  whole.toBlob(blob => {
    const link = element("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${picture.name.replace(/\.[^.]*$/, "")}_overlay.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

// Drawing

const css = ([red, green, blue]) => `rgb(${red}, ${green}, ${blue})`;
const packed = ([red, green, blue]) => (255 << 24 | blue << 16 | green << 8 | red) >>> 0;  // little-endian RGBA

function ramp() {
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const place = i / 255 * (RAMP.length - 1);
    const k = Math.min(RAMP.length - 2, Math.floor(place));
    table[i] = packed(RAMP[k].map((value, c) => Math.round(value + (place - k) * (RAMP[k + 1][c] - value))));
  }
  return table;
}

let drawing = 0;
async function drawImage() {
  const mine = ++drawing;
  const address = where(`image.png?channel=${at("channel").value}&stretched=${at("stretched").checked ? 1 : 0}`);
  try {
    const bitmap = await createImageBitmap(await (await ask(address)).blob());
    if (mine !== drawing) return;
    at("image").getContext("2d").drawImage(bitmap, 0, 0);
    at("image").dataset.shown = address;
  } catch {
    // what is wrong with it, predicting says
  }
}

const opacity = () => layer === "Outline" ? 1 : Number(at("opacity").value);

let planned = false;
function draw() {  // as soon as the browser paints next, however fast the slider moves
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => { planned = false; paint(); });
}

function paint() {
  if (!found) return;
  const began = performance.now();
  const { width, height } = picture;
  const pen = at("layer").getContext("2d");
  at("layer").style.opacity = opacity();
  at("of-opacity").hidden = layer === "Outline" || layer === "Image";
  const continuous = layer === "Probability" || layer === "Uncertainty";
  at("legend").hidden = !continuous;
  at("of-class").hidden = !(layer === "Probability" && !about.two);
  if (layer === "Image") { pen.clearRect(0, 0, width, height); return; }
  const drawn = pen.createImageData(width, height);
  const out = new Uint32Array(drawn.data.buffer);
  if (continuous) paintShare(out);
  else if (layer === "Objects") paintObjects(out);
  else paintClasses(out, width, height, layer === "Outline");
  pen.putImageData(drawn, 0, 0);
  at("layer").dataset.took = performance.now() - began;
}

function paintClasses(out, width, height, outline) {
  const colours = new Uint32Array(256);
  about.classes.forEach((each, i) => { colours[i + 1] = packed(each.colour); });
  let ids = found.classes;
  if (about.two) {
    const share = found.share, limit = Math.fround(threshold);
    ids = new Uint8Array(share.length);
    for (let i = 0; i < ids.length; i++) ids[i] = share[i] > limit ? 1 : 0;
  }
  if (!outline) {
    for (let i = 0; i < ids.length; i++) out[i] = colours[ids[i]];
    return;
  }
  // Lines that stay one pixel of the screen wide or more, also where the picture is made small.
  const reach = Math.max(1, Math.round(0.75 / view.scale));
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const id = ids[i];
      if (id && ((x >= reach && ids[i - reach] !== id) || (x + reach < width && ids[i + reach] !== id) ||
          (y >= reach && ids[i - reach * width] !== id) || (y + reach < height && ids[i + reach * width] !== id))) {
        out[i] = colours[id];
      }
    }
  }
}

function paintShare(out) {
  const table = ramp();
  const uncertain = layer === "Uncertainty";
  const values = uncertain && found.spread ? found.spread : found.share;
  const spread = uncertain && found.spread;
  for (let i = 0; i < out.length; i++) {
    const p = values[i];
    // Of one view: the entropy of the two outcomes, 1 where both are as likely.
    const value = spread ? 2 * p : uncertain ? entropy(p) : p;
    out[i] = table[Math.max(0, Math.min(255, Math.round(255 * value)))];
  }
  const pen = at("ramp").getContext("2d");
  const line = pen.createImageData(256, 1);
  new Uint32Array(line.data.buffer).set(table);
  pen.putImageData(line, 0, 0);
  at("high").textContent = spread ? "0.5" : "1";
  const of = about.two ? about.classes[0].name : at("class").selectedOptions[0].text;
  at("says").textContent = !uncertain ? `probability of ${of}` :
    spread ? "how far views or networks differ (standard deviation)" : `how undecided it is about ${of} (entropy, bits)`;
}

function entropy(p) {
  return p <= 0 || p >= 1 ? 0 : -(p * Math.log2(p) + (1 - p) * Math.log2(1 - p));
}

async function drawObjects() {
  const mine = turn, asked = threshold;
  const numbers = new Uint32Array(await bytes(where(`numbers?threshold=${asked}`)));
  if (mine !== turn || asked !== threshold || !found) return;
  found.numbers = numbers;
  draw();
}

function paintObjects(out) {
  const numbers = found.numbers;
  if (!numbers) return;
  for (let i = 0; i < out.length; i++) {
    const id = numbers[i];
    if (id) {  // hues far from those of the numbers beside
      const hue = (id * 0.6180339887 % 1) * 6, wheel = k => Math.max(0, Math.min(1, Math.abs((hue + k) % 6 - 3) - 1));
      out[i] = packed([wheel(0), wheel(4), wheel(2)].map(each => Math.round(60 + 195 * each)));
    }
  }
}

// Moving

function place() {
  at("moved").style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  at("moved").classList.toggle("near", view.scale >= 2);
  at("zoom").textContent = `${Math.round(100 * view.scale)} %`;
}

function fit() {
  const box = at("canvases").getBoundingClientRect();
  view.scale = Math.min(box.width / picture.width, box.height / picture.height, 16);
  view.x = (box.width - picture.width * view.scale) / 2;
  view.y = (box.height - picture.height * view.scale) / 2;
  place();
  if (layer === "Outline") draw();
}

function zoom(by, x, y) {
  const box = at("canvases").getBoundingClientRect();
  const px = x === undefined ? box.width / 2 : x - box.left, py = y === undefined ? box.height / 2 : y - box.top;
  const scale = Math.max(0.02, Math.min(64, view.scale * by));
  view.x = px - (px - view.x) * scale / view.scale;
  view.y = py - (py - view.y) * scale / view.scale;
  view.scale = scale;
  place();
  if (layer === "Outline") draw();
}

function move(dx, dy) { view.x += dx; view.y += dy; place(); }

function watchPointers(box) {
  const down = new Map();
  const gap = () => { const [a, b] = [...down.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  box.addEventListener("wheel", event => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX, event.clientY);
  }, { passive: false });
  box.addEventListener("pointerdown", event => {
    box.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  box.addEventListener("pointermove", event => {
    const last = down.get(event.pointerId);
    if (!last) return;
    const before = down.size === 2 ? gap() : 0;
    if (down.size === 1) move(event.clientX - last.x, event.clientY - last.y);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (down.size === 2 && before) {
      const [a, b] = [...down.values()];
      zoom(gap() / before, (a.x + b.x) / 2, (a.y + b.y) / 2);
    }
  });
  for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, event => down.delete(event.pointerId));
  box.addEventListener("keydown", event => {
    const keys = {
      "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "0": fit,
      ArrowLeft: () => move(40, 0), ArrowRight: () => move(-40, 0), ArrowUp: () => move(0, 40), ArrowDown: () => move(0, -40),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
}

// Controls

function choose(name) {
  layer = name;
  document.querySelector(`#layers input[value=${name}]`).checked = true;
}

function setThreshold(value) {
  threshold = value;
  at("threshold").value = value;
  at("value").textContent = value.toFixed(3).replace(/0$/, "");
  draw();
}

function makeLayers() {
  const names = LAYERS.filter(name => about.probabilities || !["Probability", "Uncertainty"].includes(name));
  at("layers").replaceChildren(...names.map(name => {
    const label = element("label"), input = element("input");
    input.type = "radio";
    input.name = "layer";
    input.value = name;
    input.checked = name === layer;
    input.addEventListener("change", () => {
      layer = name;
      draw();
      if (name === "Objects" && found) drawObjects().catch(show);
    });
    label.append(input, element("span", name));
    return label;
  }));
}

async function start() {
  about = await json("about");
  makeLayers();
  at("of-threshold").hidden = !about.two || !about.probabilities;
  at("own").textContent = `the run's own: ${about.threshold.toFixed(3).replace(/0$/, "")}`;
  setThreshold(about.threshold);
  fill(at("class"), about.names.map((name, i) => [String(i), name]));
  at("class").value = "1";

  at("choose").addEventListener("click", () => at("file").click());
  at("another").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", () => { openFile(at("file").files[0]); at("file").value = ""; });
  for (const id of ["example", "another-example"]) at(id).addEventListener("click", openExample);

  document.addEventListener("dragover", event => { event.preventDefault(); at("stage").classList.add("over"); });
  document.addEventListener("dragleave", event => { if (!event.relatedTarget) at("stage").classList.remove("over"); });
  document.addEventListener("drop", event => {
    event.preventDefault();
    at("stage").classList.remove("over");
    openFile(event.dataTransfer.files[0]);
  });

  at("threshold").addEventListener("input", () => {
    at("found").classList.add("stale");  // until the program has counted anew
    if (layer !== "Mask" && layer !== "Objects") choose("Outline");
    setThreshold(Number(at("threshold").value));
  });
  at("threshold").addEventListener("change", () => { if (found) count(); });
  at("own").addEventListener("click", () => { setThreshold(about.threshold); if (found) count(); });
  at("opacity").addEventListener("input", draw);
  at("channel").addEventListener("change", drawImage);
  at("stretched").addEventListener("change", drawImage);
  at("class").addEventListener("change", async () => { found.share = await likeliest(); draw(); });
  at("page").addEventListener("input", () => { at("page-value").textContent = `${Number(at("page").value) + 1} of ${picture.pages}`; });
  at("page").addEventListener("change", () => { show(null); turnTo(Number(at("page").value), false); });

  at("in").addEventListener("click", () => zoom(1.25));
  at("out").addEventListener("click", () => zoom(0.8));
  at("fit").addEventListener("click", fit);
  watchPointers(at("canvases"));
  addEventListener("pagehide", () => { if (picture) forget(picture); });
}

start().catch(show);
