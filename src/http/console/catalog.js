"use strict";
/* What the server has: models, samplers, annotators, adapters; and what of it is shown in the form. */

const catalog = { models: [], samplers: null, annotators: [], adapters: [], embeddings: [], asked: 0 };

async function loadCatalog() {
  const [m, s, a, l] = await Promise.all(["v1/models", "v1/samplers", "v1/annotators", "v1/adapters"].map(p => api.json(p)));
  catalog.models = m.models;
  catalog.embeddings = m.embeddings;
  catalog.samplers = s;
  catalog.annotators = a.annotators;
  catalog.adapters = l.adapters;
  catalog.passedOver = m.passed_over;
  catalog.asked = Date.now();
  fillForm();
}

/* ---- questions ---- */

const usable = kind => catalog.models.filter(m => m.kind === kind && !m.broken);

function baseModel() {
  const bases = usable("base");
  return bases.find(m => m.name === $("model").value) ?? bases.find(m => m.default) ?? bases[0];
}

function modelNamed(name) {
  return catalog.models.find(m => m.name === name);
}

/* ControlNets that fit the model that is chosen. */
function fittingControls() {
  const base = baseModel();
  return usable("controlnet").filter(m => !base || m.family === base.family);
}

function annotatorNamed(name) {
  return catalog.annotators.find(a => a.name === name);
}

/* The size that a picture gets when the fields are as they are. */
function pictureSize() {
  const base = baseModel(), asked = [Number($("width").value), Number($("height").value)], init = initBoard.picture;
  if (init && !asked[0] && !asked[1]) /* as the server has it */
    return [init.width, init.height].map(side => Math.min(2048, Math.max(8, 8 * Math.round(side / 8))));
  return [asked[0] || base?.width || 512, asked[1] || base?.height || 512];
}

/* ---- the form ---- */

const named = list => list.map(x => [x]);

function fillModels() {
  const bases = usable("base").sort((x, y) => (y.default === true) - (x.default === true));
  fillSelect($("model"), bases.map(m => [m.default ? "" : m.name, m.title ? m.title + " (" + m.name + ")" : m.name]));
  fillSelect($("vae"), [["", "the model's own"], ...usable("vae").map(m => [m.name])]);
}

function fillSamplers() {
  const s = catalog.samplers, d = s.defaults;
  fillSelect($("sampler"), [["", d.sampler + " (default)"], ...named(s.samplers)]);
  fillSelect($("schedule"), [["", "the model's own"], ...named(s.schedules.filter(x => x !== d.schedule))]);
  fillSelect($("spacing"), [["", "the model's own"], ...named(s.spacings.filter(x => x !== d.spacing))]);
  fillSelect($("rng"), [["", d.rng.toUpperCase()], ...s.rngs.filter(x => x !== d.rng).map(x => [x, x.toUpperCase()])]);
  fillSelect($("hires_upscaler"), [["", s.upscalers[0]], ...named(s.upscalers.slice(1))]);
  fillSelect($("hires_sampler"), [["", "the same"], ...named(s.samplers)]);
  fillSelect($("hires_schedule"), [["", "the same"], ...named(s.schedules)]);
}

/* What depends on the model. */
function onModel() {
  const m = baseModel();
  if (!m) return;
  const step = m.multiple ?? 8;
  for (const id of ["width", "height"]) {
    $(id).step = step;
    $(id).placeholder = m[id] ?? "";
  }
  $("guidance_scale").placeholder = m.guidance_scale ?? 7.5;
  $("decoder").options[1].disabled = !m.tiny_decoder;
  const facts = [m.width ? m.width + " × " + m.height : "", m.parameters ? (m.parameters / 1e6).toFixed(0) + " M parameters" : "",
                 m.state === "loaded" ? "" : "is loaded with the first picture"].filter(Boolean);
  $("model-note").textContent = facts.join(" · ");
  $("model-note").hidden = false;
  for (const unit of units) unit.fill();
  for (const line of adapterLines) line.fill();
  onSize();
}

function onSize() {
  const [w, h] = pictureSize();
  for (const b of [...units.map(u => u.board), initBoard, depthBoard]) b.setShape(w, h);
  summarise();
}

/* What closed sections hold, in a few words. */
function summarise() {
  const [w, h] = pictureSize(), text = id => $(id).selectedOptions[0]?.text ?? "";
  const guided = $("guidance_scale").value || $("guidance_scale").placeholder;
  $("size-sum").textContent = `${w} × ${h}, ${$("steps").value || 20} steps, guidance ${guided}`;
  $("sampling-sum").textContent = text("sampler").replace(" (default)", "") +
    ($("schedule").value ? ", " + text("schedule") : "") + ($("prompt_syntax").value ? ", web UI's syntax" : "");
  $("hires-sum").textContent = $("hires").checked ? "× " + ($("hires_scale").value || 2) : "off";
  $("hires-fields").hidden = !$("hires").checked;
  $("file-sum").textContent = text("format");
  $("adapters-sum").textContent = adapterLines.length > 0 ? String(adapterLines.length) : "none";
  $("init-sum").textContent = !initBoard.isUsed ? "none" : initBoard.hasStrokes ? "with a mask" : "all of it";
}

function fillForm() {
  fillModels();
  fillSamplers();
  const broken = catalog.adapters.filter(a => a.broken).length;
  $("adapters-note").textContent = catalog.adapters.length === 0
    ? "The server has none (models.adapters)." : plural(catalog.adapters.length - broken, "adapter") + " can be used.";
  $("add-adapter").disabled = catalog.adapters.length === broken;
  $("add-control").disabled = usable("controlnet").length === 0;
  onModel();
}
