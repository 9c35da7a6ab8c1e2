"use strict";
/* What pictures and texts say of how they were made, ours and AUTOMATIC1111's, as a request. */

/* Names of samplers and schedules as the web UI writes them: letters and digits count. */
const plainName = s => s.toLowerCase().replaceAll("++", "pp").replace(/[^a-z0-9]/g, "");
const webUiSamplers = { eulera: "euler_a", dpm2a: "dpm2_a", dpmpp2sa: "dpmpp_2s_a", dpmpp2msdeheun: "dpmpp_2m_sde_heun",
                        plms: "pndm", unipc: "unipc", ddimcfgpp: "ddim", eulercfgpp: "euler_cfgpp" };
const webUiSchedules = { automatic: "", uniform: "", sgmuniform: "sgm_uniform", kloptimal: "kl_optimal", alignyoursteps: "ays" };

function nameIn(list, text, others) {
  const plain = plainName(text);
  return others[plain] ?? list.find(x => plainName(x) === plain);
}

/* "DPM++ 2M Karras" is a sampler and a schedule. */
function readSampler(spec, text, schedule) {
  const s = catalog.samplers;
  let sampler = nameIn(s.samplers, text, webUiSamplers);
  const last = text.match(/^(.*) (Karras|Exponential|Polyexponential|SGM Uniform)$/i);
  if (!sampler && last) {
    sampler = nameIn(s.samplers, last[1], webUiSamplers);
    schedule ??= last[2];
  }
  if (sampler) spec.sampler = sampler;
  if (schedule) put(spec, "schedule", nameIn(s.schedules, schedule, webUiSchedules));
  return Boolean(sampler);
}

/* A unit of the ControlNet extension: "Module: canny, Model: x [hash], Weight: 1, ...". */
function readUnit(text) {
  const at = {}, unit = {};
  for (const pair of text.split(/,\s*(?=[A-Z][A-Za-z ]*:)/)) {
    const colon = pair.indexOf(":");
    if (colon > 0) at[pair.slice(0, colon).trim().toLowerCase()] = pair.slice(colon + 1).trim();
  }
  unit.model = (at.model ?? "").replace(/ \[[0-9a-f]+\]$/, "");
  put(unit, "annotator", nameIn(catalog.annotators.map(a => a.name), at.module ?? at.preprocessor ?? "none", {}) ?? "none");
  for (const [name, key] of [["strength", "weight"], ["start", "guidance start"], ["end", "guidance end"]])
    if (at[key] !== undefined) unit[name] = Number(at[key]);
  const resize = (at["resize mode"] ?? "").toLowerCase();
  if (resize.startsWith("crop")) unit.resize = "crop";
  if (resize.startsWith("resize and fill")) unit.resize = "pad";
  if (/prompt is more/i.test(at["control mode"] ?? "")) unit.weights = "soft";
  return unit;
}

/* The pairs of an infotext, by their names, as a request. */
function specOfPairs(o) {
  const spec = { prompt: o.Prompt ?? "", negative_prompt: o["Negative prompt"] ?? "", prompt_syntax: "a1111" };
  const number = (name, key) => { if (o[key] !== undefined && Number.isFinite(Number(o[key]))) spec[name] = Number(o[key]); };
  const size = /^(\d+)x(\d+)$/.exec(o.Size ?? "");
  number("steps", "Steps");
  number("guidance_scale", "CFG scale");
  number("clip_skip", "Clip skip");
  number("denoise", "Denoising strength");
  if (/^\d+$/.test(o.Seed ?? "")) spec.seed = o.Seed;
  if (size) [spec.width, spec.height] = [Number(size[1]), Number(size[2])];
  if (o.Sampler) readSampler(spec, o.Sampler, o["Schedule type"]);
  if (modelNamed(o.Model)) spec.model = o.Model;
  if (o.RNG === "GPU" || o.RNG === "NV") spec.rng = "cuda";
  if (o["Hires upscale"] || o["Hires resize"]) {
    spec.hires = { strength: spec.denoise };
    if (o["Hires upscale"]) spec.hires.scale = Number(o["Hires upscale"]);
    if (o["Hires steps"]) spec.hires.steps = Number(o["Hires steps"]);
    const up = nameIn(catalog.samplers.upscalers, o["Hires upscaler"] ?? "", {});
    if (up) spec.hires.upscaler = up;
    delete spec.denoise;
  }
  const found = Object.keys(o).filter(k => /^ControlNet( \d+)?$/.test(k)).map(k => readUnit(o[k]));
  if (found.length > 0) spec.controls = found;
  return spec;
}

/* The text as people copy it. The last line holds the pairs. */
function pairsOf(text) {
  const lines = text.trim().split("\n"), o = {};
  const last = /^Steps: /.test(lines[lines.length - 1]) ? lines.pop() : "";
  const negative = lines.findIndex(l => l.startsWith("Negative prompt:"));
  o.Prompt = lines.slice(0, negative < 0 ? undefined : negative).join("\n").trim();
  if (negative >= 0) o["Negative prompt"] = lines.slice(negative).join("\n").slice("Negative prompt:".length).trim();
  for (const m of last.matchAll(/\s*([^:,]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)/g)) {
    let value = m[2].trim();
    if (value.startsWith('"')) { try { value = JSON.parse(value); } catch { /* as it is */ } }
    o[m[1].trim()] = value;
  }
  return o;
}

function specOfText(text) {
  return text.trim().startsWith("{") ? parseJson(text) : specOfPairs(pairsOf(text));
}

/* Of a picture: {spec, info}; throws what is to be said when there is nothing. */
async function specOfPicture(file) {
  const told = await api.json("sdapi/v1/png-info", { method: "POST", headers: { "Content-Type": "application/json" },
                                                     body: JSON.stringify({ image: await base64(file) }) });
  if (told.items?.controlnetd) {
    try { return { spec: parseJson(told.items.controlnetd), info: told.info }; } catch { /* the other text has it, too */ }
  }
  if (!told.info) throw new Error("This picture does not say how it was made.");
  return { spec: specOfPairs({ ...pairsOf(told.info), ...told.parameters }), info: told.info };
}

async function useSettingsOf(file) {
  try {
    writeRequest((await specOfPicture(file)).spec);
    toast("The settings of the picture are in the form");
    return true;
  } catch (e) {
    toast(textOf(e));
    $("settings-note").textContent = textOf(e);
    return false;
  }
}
