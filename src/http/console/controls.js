"use strict";
/* ControlNets and adapters: lists of units in the form. */

const units = [];         /* Control */
const adapterLines = [];  /* AdapterLine */

const unitTexts = ["model", "branch", "weights", "resize", "rules"];
const unitNumbers = ["strength", "start", "end"];

class Control {
  constructor() {
    this.root = $("control-template").content.firstElementChild.cloneNode(true);
    this.part = name => this.root.querySelector(`[data-part="${name}"]`);
    $("controls").append(this.root);
    this.board = new Board(this.part("board"), "drawing", "Control image", () => this.onBoard());
    this.chosen = false;  /* the annotator was chosen by hand */
    this.part("remove").onclick = () => this.remove();
    this.part("enabled").onchange = () => this.root.classList.toggle("off", !this.part("enabled").checked);
    this.part("model").onchange = () => { this.suggest(); this.forgetMap(); };
    this.part("annotator").onchange = () => { this.chosen = true; this.fillParams(); this.forgetMap(); };
    this.part("annotate").onclick = () => this.annotate();
    this.board.fit(...pictureSize());
    this.fill();
    this.suggest();
  }

  remove() {
    units.splice(units.indexOf(this), 1);
    this.root.remove();
    renumber();
    (units.length > 0 ? units[units.length - 1].part("remove") : $("add-control")).focus();
    announce("The ControlNet is removed.");
  }

  get enabled() { return this.part("enabled").checked; }

  /* The lists of models and annotators, when the server's or the base model change. */
  fill() {
    const nets = fittingControls();
    fillSelect(this.part("model"), nets.length > 0 ? nets.map(m => [m.name]) : [["", "none fits this model"]]);
    fillSelect(this.part("annotator"), catalog.annotators.map(a => [a.name, a.name === "none" ? "none: it is a map already" : a.name]));
    this.fillParams();
  }

  /* The annotator that fits the net and what is on the board, until somebody chooses another. */
  suggest() {
    if (this.chosen) return;
    const trained = modelNamed(this.part("model").value)?.annotator ?? "";
    const drawn = annotatorNamed("invert") ? "invert" : "none";
    const byNet = { canny: "canny", scribble: "scribble", lineart: "lineart_standard", mlsd: "hough", tile: "tile",
                    inpaint: "inpaint", shuffle: "shuffle" };
    const name = this.board.file ? annotatorNamed(trained)?.name ?? byNet[trained] ?? "none" : drawn;
    if (annotatorNamed(name) && this.part("annotator").value !== name) {
      this.part("annotator").value = name;
      this.fillParams();
    }
  }

  onBoard() {
    this.suggest();
    this.forgetMap();
  }

  /* A field for each parameter of the annotator; what was typed stays where names are the same. */
  fillParams() {
    const old = this.readParams(), a = annotatorNamed(this.part("annotator").value);
    this.part("params").replaceChildren(...(a?.params ?? []).map(p => {
      const input = make("input", { type: "number", inputmode: "decimal", min: p.minimum, max: p.maximum, placeholder: p.default,
                                    step: p.type === "integer" ? 1 : "any", "data-param": p.name });
      input.value = old[p.name] ?? "";
      input.oninput = () => this.forgetMap();
      return make("label", { title: p.title }, p.name.replaceAll("_", " "), input);
    }));
    this.part("annotate").disabled = !a;
    this.part("annotator").title = a?.title ?? "";
    this.point();
  }

  readParams() {
    const o = {};
    for (const input of this.root.querySelectorAll("[data-param]")) put(o, input.dataset.param, numberOf(input));
    return o;
  }

  forgetMap() {
    this.part("map").hidden = true;
  }

  /* JSON pointers of its fields: they follow its place among those that are on. */
  point() {
    const at = units.filter(u => u.enabled).indexOf(this);
    const base = "/controls/" + (at < 0 ? "off" : at);
    for (const name of [...unitTexts, ...unitNumbers, "annotator", "resolution", "return_map"])
      this.part(name).dataset.field = base + "/" + name;
    this.part("board").dataset.field = base + "/image";
    for (const input of this.root.querySelectorAll("[data-param]"))
      input.dataset.field = base + "/params/" + input.dataset.param;
  }

  /* ---- to and from a request ---- */

  resolution() {
    const text = this.part("resolution").value.trim();
    return text === "" ? undefined : /^\d+$/.test(text) ? Number(text) : text;
  }

  /* Without its image. */
  read() {
    const c = {};
    for (const name of unitTexts) put(c, name, this.part(name).value);
    for (const name of unitNumbers) put(c, name, numberOf(this.part(name)));
    const params = this.readParams();
    if (!c.weights && this.levels) c.weights = this.levels;
    if (this.part("annotator").value !== "none") c.annotator = this.part("annotator").value;
    if (Object.keys(params).length > 0) c.params = params;
    put(c, "resolution", this.resolution());
    if (this.part("return_map").checked) c.return_map = true;
    return c;
  }

  write(c) {
    this.chosen = true;
    this.levels = Array.isArray(c.weights) ? c.weights : undefined; /* kept as they are */
    for (const name of unitTexts) {
      const usual = { branch: "both", weights: "uniform", resize: "stretch", rules: "diffusers" }[name];
      choose(this.part(name), Array.isArray(c[name]) || c[name] === usual ? "" : c[name]);
    }
    for (const name of unitNumbers) this.part(name).value = c[name] ?? "";
    choose(this.part("annotator"), c.annotator ?? "none");
    this.fillParams();
    for (const input of this.root.querySelectorAll("[data-param]")) input.value = c.params?.[input.dataset.param] ?? "";
    this.part("resolution").value = c.resolution || "";
    this.part("return_map").checked = Boolean(c.return_map);
    this.forgetMap();
  }

  /* ---- the map ---- */

  async annotate() {
    const image = await this.board.blob(), button = this.part("annotate");
    clearErrors();
    if (!image) {
      showErrorAt(this.part("board"), "Draw something, or choose a picture.", "wrong-map").focus();
      return;
    }
    button.disabled = true;
    try {
      await this.showMap(image);
    } catch (e) {
      showError(this.atUnit(e));
    }
    button.disabled = false;
  }

  async showMap(image) {
    const name = this.part("annotator").value, body = new FormData(), ask = { annotator: name, image: "part:image" };
    const params = this.readParams();
    if (Object.keys(params).length > 0) ask.params = params;
    put(ask, "resolution", this.resolution());
    [ask.width, ask.height] = pictureSize();
    put(ask, "resize", this.part("resize").value);
    if (catalog.annotators.find(a => a.name === name)?.takes_mask) delete ask.width, delete ask.height;
    body.append("params", JSON.stringify(ask));
    body.append("image", image, "image");
    const r = await api.post("v1/annotate", body), map = await r.blob(), img = this.part("map").querySelector("img");
    if (img.src) URL.revokeObjectURL(img.src);
    img.src = URL.createObjectURL(map);
    await img.decode().catch(() => {});
    img.alt = "Control map made by " + name;
    this.part("map").querySelector("figcaption").textContent =
      `${name}, ${img.naturalWidth} × ${img.naturalHeight}`;
    this.part("map").hidden = false;
    announce("The control map is there.");
  }

  /* The pointers of /v1/annotate are those of one unit. */
  atUnit(error) {
    const at = units.filter(u => u.enabled).indexOf(this);
    for (const f of error.fields ?? []) f.pointer = "/controls/" + at + f.pointer;
    return error;
  }
}

function renumber() {
  units.forEach((u, i) => {
    u.root.querySelector("h3").textContent = "ControlNet " + (i + 1);
    u.root.setAttribute("aria-label", "ControlNet " + (i + 1));
    u.part("remove").setAttribute("aria-label", "Remove ControlNet " + (i + 1));
    u.point();
  });
  $("no-controls").hidden = units.length > 0;
  $("add-control").hidden = units.length >= 8;
}

function addControl() {
  const unit = new Control();
  units.push(unit);
  unit.part("enabled").addEventListener("change", renumber);
  renumber();
  return unit;
}

/* ---- adapters ---- */

class AdapterLine {
  constructor() {
    this.root = $("adapter-template").content.firstElementChild.cloneNode(true);
    this.part = name => this.root.querySelector(`[data-part="${name}"]`);
    $("adapters").append(this.root);
    this.part("remove").onclick = () => {
      adapterLines.splice(adapterLines.indexOf(this), 1);
      this.root.remove();
      pointAdapters();
      $("add-adapter").focus();
    };
    this.part("name").onchange = () => this.describe();
    this.fill();
  }

  fill() {
    fillSelect(this.part("name"), catalog.adapters.filter(a => !a.broken).map(a =>
      [a.name, a.alias && a.alias !== a.name ? a.name + " (" + a.alias + ")" : a.name]));
    this.describe();
  }

  describe() {
    const a = catalog.adapters.find(x => x.name === this.part("name").value);
    const facts = a ? [a.kind, a.family?.replace("_", " "), a.base && "made with " + a.base, a.triggers && "words: " + a.triggers] : [];
    this.part("note").textContent = facts.filter(Boolean).join(" · ");
    this.part("note").hidden = this.part("note").textContent === "";
  }

  read() {
    const a = { name: this.part("name").value };
    put(a, "strength", numberOf(this.part("strength")));
    put(a, "text_strength", numberOf(this.part("text_strength")));
    if (this.blocks) a.block_weights = this.blocks;
    return a;
  }

  write(a) {
    choose(this.part("name"), a.name);
    this.part("strength").value = a.strength ?? "";
    this.part("text_strength").value = a.text_strength ?? "";
    this.blocks = a.block_weights; /* kept as they are */
    this.describe();
  }
}

function pointAdapters() {
  adapterLines.forEach((line, i) => {
    for (const name of ["name", "strength", "text_strength"])
      line.part(name).dataset.field = "/adapters/" + i + "/" + name;
  });
  summarise();
}

function addAdapter() {
  const line = new AdapterLine();
  adapterLines.push(line);
  pointAdapters();
  return line;
}
