"use strict";
/* A board to draw on: strokes over white paper or over a picture. As a mask, the strokes alone are
   the result. Pen, finger, mouse and keyboard draw; pictures are dropped, pasted or chosen. */

const boardPixels = {
  longest: 2048,   /* pixels of the sheet; larger pictures are shown smaller, and sent as they are */
  drawn: 512,      /* pixels of the longer side of a drawing, at least */
};

class Board {
  /* kind: "drawing", or "mask" (then there is something to be seen of it only over a picture).
     label: what it is called. changed: called after each stroke and each picture. */
  constructor(place, kind, label, changed) {
    this.kind = kind;
    this.changed = changed ?? (() => {});
    this.strokes = [];     /* {erase, size, points: [[x, y] ...]}, all from 0 to 1 of the width */
    this.undone = [];
    this.picture = null;   /* ImageBitmap */
    this.file = null;      /* the file it came from: it is sent as it is */
    this.width = this.height = 512;
    this.erase = false;
    this.cursor = null;    /* of the keyboard: {x, y, down} */
    this.layer = document.createElement("canvas");
    this.build(place, label);
    this.fit(1, 1);
  }

  build(place, label) {
    const button = (text, act, more) =>
      make("button", { type: "button", class: "plain", onclick: act, ...more }, text);
    const key = "Draw with a pointer. With the keyboard: arrows move, Space puts the pen down or lifts it.";

    this.canvas = make("canvas", { tabindex: 0, role: "application", "aria-roledescription": "drawing board",
                                   "aria-label": label + ". " + key });
    this.invitation = this.kind === "mask" ? "Drop, paste or choose a picture" : "Draw here, or drop or paste a picture";
    this.hint = make("p", { class: "hint" }, this.invitation);
    this.dot = make("span", { class: "dot", hidden: true });
    this.sheet = make("div", { class: "sheet" }, this.canvas, this.hint, this.dot);
    this.penButton = button("Pen", () => this.setTool(false), { "aria-pressed": "true" });
    this.eraserButton = button("Eraser", () => this.setTool(true), { "aria-pressed": "false" });
    this.size = make("input", { type: "range", min: 1, max: 100, value: this.kind === "mask" ? 45 : 14 });
    this.undoButton = button("\u21b6", () => this.undo(), { class: "plain sign", "aria-label": "Undo", title: "Undo" });
    this.redoButton = button("\u21b7", () => this.redo(), { class: "plain sign", "aria-label": "Redo", title: "Redo" });
    this.clearButton = button("Clear", () => this.clear());
    this.chooser = make("input", { type: "file", accept: "image/*", onchange: () => this.take(this.chooser.files[0]) });
    this.tools = make("div", { class: "tools", role: "group", "aria-label": "Tools of the " + label },
      this.penButton, this.eraserButton, make("label", { class: "width", title: "Size" }, make("span", { class: "hidden" }, "Size"), this.size),
      this.undoButton, this.redoButton, this.clearButton,
      make("label", { class: "plain button file" }, "Choose …", this.chooser));
    place.classList.add("board");
    place.append(this.sheet, this.tools);
    place.board = this;
    this.listen();
  }

  listen() {
    const c = this.canvas;
    c.onpointerdown = e => { if (e.button === 0) { c.setPointerCapture(e.pointerId); this.begin(...this.at(e)); } };
    c.onpointermove = e => {
      if (!this.stroke || !c.hasPointerCapture(e.pointerId)) return;
      for (const p of e.getCoalescedEvents?.() ?? [e]) this.go(...this.at(p));
      this.show();
    };
    c.onpointerup = c.onpointercancel = () => this.end();
    c.onkeydown = e => this.onKey(e);
    c.onblur = () => { this.dot.hidden = true; if (this.cursor?.down) this.end(); this.cursor = null; };
    this.sheet.ondragover = e => { e.preventDefault(); this.sheet.classList.add("dropping"); };
    this.sheet.ondragleave = () => this.sheet.classList.remove("dropping");
    this.sheet.ondrop = e => {
      e.preventDefault();
      e.stopPropagation();
      this.sheet.classList.remove("dropping");
      this.take(e.dataTransfer.files[0]);
    };
  }

  /* ---- its size ---- */

  /* The sheet gets this shape; without a picture only, which has its own. */
  setShape(width, height) {
    if (this.shape[0] !== width || this.shape[1] !== height) this.fit(width, height);
  }

  fit(width, height) {
    this.shape = [width, height];
    if (this.picture) [width, height] = [this.picture.width, this.picture.height];
    const longer = Math.max(width, height);
    const scale = this.picture ? Math.min(1, boardPixels.longest / longer) : Math.max(1, Math.ceil(boardPixels.drawn / longer));
    this.width = Math.max(1, Math.round(width * scale));
    this.height = Math.max(1, Math.round(height * scale));
    for (const c of [this.canvas, this.layer]) [c.width, c.height] = [this.width, this.height];
    this.sheet.style.aspectRatio = this.width + " / " + this.height;
    this.repaint();
  }

  /* ---- strokes ---- */

  at(e) {
    const r = this.canvas.getBoundingClientRect();
    return [(e.clientX - r.left) / r.width, (e.clientY - r.top) / r.width];
  }

  /* Of the width: finer at the thin end. */
  get penSize() { return 0.004 + 0.2 * (Number(this.size.value) / 100) ** 2; }

  begin(x, y) {
    if (this.kind === "mask" && !this.picture && !this.file) return;
    this.stroke = { erase: this.erase, size: this.penSize, points: [[x, y]] };
    this.ink(this.stroke, 0);
    this.show();
  }

  go(x, y) {
    this.stroke.points.push([x, y]);
    this.ink(this.stroke, this.stroke.points.length - 1);
  }

  end() {
    if (!this.stroke) return;
    this.strokes.push(this.stroke);
    this.undone = [];
    this.stroke = null;
    this.tell();
  }

  undo() { if (this.strokes.length > 0) { this.undone.push(this.strokes.pop()); this.repaint(); this.tell(); } }
  redo() { if (this.undone.length > 0) { this.strokes.push(this.undone.pop()); this.repaint(); this.tell(); } }

  clear() {
    this.strokes = [];
    this.undone = [];
    this.picture = this.file = null;
    this.chooser.value = "";
    this.hint.textContent = this.invitation;
    this.fit(...this.shape);
    this.tell();
    this.canvas.focus();
  }

  setTool(erase) {
    this.erase = erase;
    this.penButton.setAttribute("aria-pressed", String(!erase));
    this.eraserButton.setAttribute("aria-pressed", String(erase));
  }

  /* Paints a stroke into the layer, from its point `from` on. */
  ink(s, from) {
    const pen = this.layer.getContext("2d"), w = this.width;
    pen.globalCompositeOperation = s.erase ? "destination-out" : "source-over";
    pen.strokeStyle = "#000";
    pen.lineWidth = s.size * w;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    const first = s.points[Math.max(0, from - 1)];
    pen.moveTo(first[0] * w, first[1] * w);
    for (const p of s.points.slice(Math.max(from, 0))) pen.lineTo(p[0] * w, p[1] * w);
    pen.stroke();
  }

  repaint() {
    this.layer.getContext("2d").clearRect(0, 0, this.width, this.height);
    for (const s of this.strokes) this.ink(s, 0);
    this.show();
  }

  show() {
    const pen = this.canvas.getContext("2d");
    pen.globalAlpha = 1;
    pen.globalCompositeOperation = "source-over";
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, this.width, this.height);
    if (this.picture) pen.drawImage(this.picture, 0, 0, this.width, this.height);
    if (this.kind === "mask") this.showMask(pen);
    else pen.drawImage(this.layer, 0, 0);
    this.hint.hidden = this.isUsed || Boolean(this.stroke);
    this.undoButton.disabled = this.strokes.length === 0;
    this.redoButton.disabled = this.undone.length === 0;
    this.clearButton.disabled = !this.isUsed;
  }

  /* In a colour that few pictures have, and that lets them be seen. */
  showMask(pen) {
    const tint = this.tint ??= document.createElement("canvas");
    [tint.width, tint.height] = [this.width, this.height];
    const t = tint.getContext("2d");
    t.drawImage(this.layer, 0, 0);
    t.globalCompositeOperation = "source-in";
    t.fillStyle = "#e0218a";
    t.fillRect(0, 0, this.width, this.height);
    pen.globalAlpha = 0.6;
    pen.drawImage(tint, 0, 0);
    pen.globalAlpha = 1;
  }

  tell() {
    this.show();
    this.changed();
  }

  /* ---- pictures ---- */

  /* A file, or whatever has its bytes. One that the browser cannot show is sent as it is. */
  async take(file) {
    if (!file) return;
    this.file = file;
    this.strokes = [];
    this.undone = [];
    try {
      this.picture = await createImageBitmap(file);
    } catch {
      this.picture = null;
    }
    this.fit(...this.shape);
    this.tell();
    if (!this.picture) {
      this.hint.hidden = false;
      this.hint.textContent = (file.name ?? "The picture") + " cannot be shown here; it is sent as it is.";
    }
    announce("The picture is on the board.");
  }

  get isUsed() { return Boolean(this.file) || this.strokes.length > 0; }
  get isDrawing() { return !this.file && this.strokes.length > 0; }
  get hasStrokes() { return this.strokes.some(s => !s.erase); }

  /* The file, or the sheet with all strokes as PNG; null: there is nothing. */
  async blob() {
    if (!this.isUsed) return null;
    if (this.file && (this.kind === "mask" || this.strokes.length === 0 || !this.picture)) return this.file;
    return new Promise(done => this.canvas.toBlob(done, "image/png"));
  }

  /* White where the mask is, in the picture's size; null: no mask was drawn. */
  async maskBlob() {
    if (!this.hasStrokes) return null;
    const c = document.createElement("canvas");
    [c.width, c.height] = [this.width, this.height];
    const pen = c.getContext("2d");
    pen.drawImage(this.layer, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, c.width, c.height);
    pen.globalCompositeOperation = "destination-over";
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, c.width, c.height);
    return new Promise(done => c.toBlob(done, "image/png"));
  }

  /* ---- the keyboard ---- */

  onKey(e) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "z") {
      e.shiftKey ? this.redo() : this.undo();
    } else if (e.ctrlKey || e.metaKey || e.altKey) {
      return;
    } else if (move) {
      this.moveCursor(move, e.shiftKey ? 0.1 : 0.02);
    } else if (e.key === " ") {
      this.toggleCursor();
    } else if (e.key === "b" || e.key === "e") {
      this.setTool(e.key === "e");
      announce(this.erase ? "Eraser" : "Pen");
    } else if (e.key === "[" || e.key === "]") {
      this.size.value = Number(this.size.value) + (e.key === "]" ? 5 : -5);
    } else {
      return;
    }
    e.preventDefault();
  }

  moveCursor([dx, dy], by) {
    const c = this.cursor ??= { x: 0.5, y: this.height / this.width / 2, down: false };
    c.x = Math.min(1, Math.max(0, c.x + dx * by));
    c.y = Math.min(this.height / this.width, Math.max(0, c.y + dy * by));
    if (c.down && this.stroke) { this.go(c.x, c.y); this.show(); }
    this.showCursor();
  }

  toggleCursor() {
    if (!this.cursor) this.moveCursor([0, 0], 0);
    this.cursor.down = !this.cursor.down;
    if (this.cursor.down) this.begin(this.cursor.x, this.cursor.y);
    else this.end();
    announce(this.cursor.down ? "Pen down" : "Pen up");
    this.showCursor();
  }

  showCursor() {
    const c = this.cursor;
    this.dot.hidden = false;
    this.dot.classList.toggle("down", c.down);
    this.dot.style.left = 100 * c.x + "%";
    this.dot.style.top = 100 * c.y * this.width / this.height + "%";
    announce(Math.round(100 * c.x) + " % right, " + Math.round(100 * c.y * this.width / this.height) + " % down");
  }
}
