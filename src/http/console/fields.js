"use strict";
/* The form's plain fields. Each has its JSON pointer of the request in data-field; what is empty is
   left out of the request, so that the server's own default holds. */

const textFields = ["prompt", "negative_prompt"];
const numberFields = ["n", "denoise", "mask_blur", "width", "height", "steps", "guidance_scale", "clip_skip", "eta",
                      "guidance_rescale", "pag_scale", "pag_adaptive_scale", "quality", "preview_every", "priority", "timeout_s"];
const choiceFields = ["model", "resize", "sampler", "schedule", "spacing", "prompt_syntax", "rng", "format", "vae", "decoder"];
/* Those of the second pass, in "hires". */
const hiresNumbers = ["scale", "width", "height", "steps", "strength", "guidance_scale"];
const hiresTexts = ["upscaler", "sampler", "schedule", "prompt", "negative_prompt"];
/* Switches with the value that needs no word. */
const switches = { mask_invert: false, paste_back: true, same_seed: false, metadata: true };

/* Integers above 2^53 are not numbers of JavaScript: a seed is put into the JSON as its digits. */
class Digits {
  constructor(text) { this.text = text; }
  toJSON() { return "digits:" + this.text; }
}
function jsonOf(value, indent) {
  return JSON.stringify(value, null, indent).replace(/"digits:(\d+)"/g, "$1");
}

/* undefined: empty. What is no number goes as it is, for the server to complain at the field. */
function numberOf(input) {
  const text = input.value.trim();
  if (input.validity?.badInput) return "?";
  if (text === "") return undefined;
  return Number.isFinite(Number(text)) ? Number(text) : text;
}

function seedOf(text) {
  text = text.trim();
  if (text === "" || text === "-1") return undefined;
  return /^\d+$/.test(text) ? new Digits(text.replace(/^0+(?=\d)/, "")) : text;
}

function put(object, name, value) {
  if (value !== undefined && value !== "") object[name] = value;
}

/* Fills a select with [value, text]; keeps what was chosen where it is still there. wanted: what is
   to be chosen when it comes. */
function fillSelect(select, items) {
  const old = select.wanted ?? select.value;
  select.replaceChildren(...items.map(([value, text]) => new Option(text ?? value, value)));
  const there = items.some(([value]) => value === old);
  if (there) select.value = old;
  if (there) select.wanted = undefined;
}

/* Chooses a value that may not be listed (yet): it is then listed as such. */
function choose(select, value) {
  value = String(value ?? "");
  if (![...select.options].some(o => o.value === value)) {
    if (value === "") { select.selectedIndex = 0; return; }
    select.append(new Option(value + " (not here)", value));
  }
  select.value = value;
}

/* ---- errors at their fields ---- */

/* The field that a JSON pointer names, or what is nearest to it: /controls/1/params/low, then
   /controls/1/params, and so on. */
function fieldAt(pointer) {
  for (let p = pointer; p !== ""; p = p.slice(0, p.lastIndexOf("/"))) {
    const found = document.querySelector(`#form [data-field="${CSS.escape(p)}"]`);
    if (found) return found;
  }
  return null;
}

function clearErrors() {
  $("alert").hidden = true;
  for (const e of document.querySelectorAll(".wrong")) e.remove();
  for (const e of document.querySelectorAll("[aria-invalid]")) {
    e.removeAttribute("aria-invalid");
    e.removeAttribute("aria-describedby");
  }
}

function showErrorAt(field, detail, id) {
  const note = make("p", { class: "wrong", id }, detail);
  const place = field.closest("label") ?? field;
  const target = field.board ? field.board.canvas : field;
  place.after(note);
  for (let d = field.closest("details"); d; d = d.parentElement.closest("details")) d.open = true;
  target.setAttribute("aria-invalid", "true");
  target.setAttribute("aria-describedby", id);
  return target;
}

/* An error of the server: said in full above the buttons, shown at the fields it names, the first of
   which gets the focus. */
function showError(error) {
  let first = null;
  clearErrors();
  (error.fields ?? []).forEach((f, i) => {
    const field = fieldAt(f.pointer);
    if (field) first ??= showErrorAt(field, f.detail, "wrong-" + i);
  });
  $("alert").textContent = textOf(error);
  $("alert").hidden = false;
  first?.focus();
  if (error.status === 401) askForKey(error);
}

/* One that is changed is no longer wrong. */
document.addEventListener("input", e => {
  const id = e.target.getAttribute?.("aria-describedby");
  if (!id?.startsWith("wrong-")) return;
  $(id)?.remove();
  e.target.removeAttribute("aria-invalid");
  e.target.removeAttribute("aria-describedby");
});

/* ---- reading and writing ---- */

function readHires() {
  const h = {};
  for (const name of hiresNumbers) put(h, name, numberOf($("hires_" + name)));
  for (const name of hiresTexts) put(h, name, $("hires_" + name).value);
  return h;
}

/* The plain fields as members of a request. */
function readFields() {
  const p = {};
  for (const name of textFields) put(p, name, $(name).value);
  for (const name of choiceFields) put(p, name, $(name).value);
  for (const name of numberFields) put(p, name, numberOf($(name)));
  for (const [name, usual] of Object.entries(switches)) if ($(name).checked !== usual) p[name] = !usual;
  put(p, "seed", seedOf($("seed").value));
  if (p.n === 1) delete p.n;
  if ($("hires").checked) p.hires = readHires();
  return p;
}

/* The other way: what the request does not name gets its default. keep: names that stay. */
function writeFields(p, keep = []) {
  for (const name of textFields) if (!keep.includes(name)) $(name).value = p[name] ?? "";
  for (const name of choiceFields) if (!keep.includes(name)) choose($(name), p[name]);
  for (const name of numberFields) if (!keep.includes(name)) $(name).value = p[name] ?? "";
  for (const [name, usual] of Object.entries(switches)) $(name).checked = p[name] ?? usual;
  if ($("n").value === "") $("n").value = 1;
  $("seed").value = p.seed ?? "";
  $("hires").checked = Boolean(p.hires);
  for (const name of hiresNumbers) $("hires_" + name).value = p.hires?.[name] ?? "";
  for (const name of hiresTexts) {
    const e = $("hires_" + name);
    if (e.tagName === "SELECT") choose(e, p.hires?.[name]);
    else e.value = p.hires?.[name] ?? "";
  }
}
