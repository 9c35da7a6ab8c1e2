"use strict";
/* What all the others use: elements, texts of numbers, what is said to people and screen readers. */

const $ = id => document.getElementById(id);

/* An element: make("button", {class: "plain", onclick: f}, "text", child ...). Names that are
   properties of elements' behaviour (on...) are set as such, all others as attributes. */
function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) e[name] = value;
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

/* The same in SVG; attributes only. */
function draw(tag, attributes = {}, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

const sleep = ms => new Promise(done => setTimeout(done, ms));

/* Calls f when it was not called for ms. */
function later(f, ms) {
  let timer = 0;
  return () => { clearTimeout(timer); timer = setTimeout(f, ms); };
}

function seconds(s) {
  if (s < 10) return s.toFixed(1) + " s";
  if (s < 90) return Math.round(s) + " s";
  if (s < 5400) return Math.round(s / 60) + " min";
  return (s / 3600).toFixed(1) + " h";
}

function bytes(n) {
  const unit = ["B", "KiB", "MiB", "GiB", "TiB"];
  let k = 0;
  for (; n >= 1024 && k < unit.length - 1; k++) n /= 1024;
  return n.toFixed(n < 10 && k > 0 ? 1 : 0) + " " + unit[k];
}

function plural(n, one, many) {
  return n + " " + (n === 1 ? one : many ?? one + "s");
}

/* For screen readers only. */
function announce(text) {
  $("live").textContent = text;
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 4000);
}

function base64(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
  });
}

function blobOf(data, type) {
  return new Blob([Uint8Array.from(atob(data), c => c.charCodeAt(0))], { type });
}

/* Saves a file, as if a link to it were clicked. */
function save(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { /* no permission, or no secure context: the old way */
    const area = make("textarea", { class: "hidden", "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast("Copied");
}

function openDialog(dialog) {
  if (!dialog.open) dialog.showModal();
}
