"use strict";
/* The whole form as a request with its pictures, and a request back into the form. */

let initBoard, depthBoard; /* made by main.js */

/* {spec, inputs: [{name, blob}]}; images in spec are "part:NAME". */
async function readRequest() {
  const spec = readFields(), inputs = [];
  const attach = (name, blob) => { inputs.push({ name, blob }); return "part:" + name; };
  const init = await initBoard.blob();

  if (init) {
    const mask = await initBoard.maskBlob();
    spec.init_image = attach("picture", init);
    if (mask) spec.mask = attach("mask", mask);
    if ($("depth-part").hidden === false && depthBoard.isUsed) spec.depth = attach("depth", await depthBoard.blob());
    if (!$("width").value && !$("height").value) { delete spec.width; delete spec.height; }
  } else {
    for (const name of ["denoise", "resize", "mask_blur", "mask_invert", "paste_back"]) delete spec[name];
  }
  if (!spec.mask) for (const name of ["mask_blur", "mask_invert", "paste_back"]) delete spec[name];

  const controls = [];
  for (const [i, unit] of units.filter(u => u.enabled).entries()) {
    const image = await unit.board.blob();
    const c = unit.read();
    if (image) c.image = attach("control" + (i + 1), image);
    controls.push({ model: c.model, image: c.image, ...c });
  }
  if (controls.length > 0) spec.controls = controls;
  if (adapterLines.length > 0) spec.adapters = adapterLines.map(line => line.read());
  return { spec, inputs };
}

/* A picture for each unit is needed: said here, before anything is sent. */
function missingPicture() {
  for (const unit of units.filter(u => u.enabled)) {
    if (unit.board.isUsed) continue;
    showErrorAt(unit.part("board"), "Draw something, choose a picture, or switch this ControlNet off.", "wrong-board").focus();
    return true;
  }
  return false;
}

/* Values that say no more than the default are left out of the form. */
const usualValues = {
  kind: "draw", negative_prompt: "", prompt_syntax: "plain", schedule: "default", spacing: "model", rng: "cpu", eta: 0, clip_skip: 0,
  resize: "stretch", mask_blur: 0, decoder: "vae", vae: "", format: "png", quality: 90, guidance_rescale: 0, pag_scale: 0,
  pag_adaptive_scale: 0, preview_every: 0, priority: 0, timeout_s: 0,
};

/* A description of a job (the "parameters" of the API, or what a picture says) becomes the form's
   state; boards keep what they show. */
function writeRequest(spec) {
  const p = { ...spec };
  for (const [name, usual] of Object.entries(usualValues)) if (p[name] === usual) delete p[name];
  if (p.sampler === catalog.samplers?.defaults.sampler) delete p.sampler;
  if (modelNamed(p.model)?.default) p.model = "";
  if (!p.init_image && !p.init_image_bytes && p.init_image === undefined && p.denoise === 0.75) delete p.denoise;
  clearErrors();
  writeFields(p, ["preview_every", "priority", "timeout_s"]);
  onModel();
  writeControls(p.controls ?? []);
  for (const line of [...adapterLines]) line.root.remove();
  adapterLines.length = 0;
  for (const a of p.adapters ?? []) addAdapter().write(a);
  pointAdapters();
  onModel();
}

function writeControls(controls) {
  while (units.length > controls.length) units.pop().root.remove();
  while (units.length < controls.length) addControl();
  controls.forEach((c, i) => {
    units[i].part("enabled").checked = true;
    units[i].root.classList.remove("off");
    units[i].write(c);
  });
  renumber();
}
