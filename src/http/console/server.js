"use strict";
/* The view of who runs the server: figures as they change, workers, queue, models, tenants. There is
   one for keys with the scope admin, and for everybody where no keys are asked for. */

const server = { allowed: false, timer: 0, figures: new Map(), last: null };
const plotPoints = 90, plotEvery = 2000;

/* May this key see it? GET /v1/tenants is for administrators only. */
async function askWhetherAdmin() {
  const r = await api.fetch("v1/tenants").catch(() => null);
  server.allowed = Boolean(r?.ok);
  $("views").hidden = !server.allowed;
  if (!server.allowed && location.hash === "#server") location.hash = "#draw";
}

/* ---- figures ---- */

/* Prometheus' text: [{name, labels, value}]. */
function readMetrics(text) {
  const list = [];
  for (const line of text.split("\n")) {
    const m = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!m) continue;
    const labels = {};
    for (const l of (m[2] ?? "").matchAll(/(\w+)="((?:\\.|[^"\\])*)"/g)) labels[l[1]] = l[2];
    list.push({ name: m[1], labels, value: Number(m[3]) });
  }
  return list;
}

function sum(metrics, name, labels = {}) {
  return metrics.filter(m => m.name === name && Object.entries(labels).every(([k, v]) => m.labels[k] === v))
    .reduce((total, m) => total + m.value, 0);
}

/* What a counter grew by in a second since the last look. */
function rate(now, name) {
  const before = server.last;
  if (!before || !now.metrics || !before.metrics) return 0;
  return Math.max(0, sum(now.metrics, name) - sum(before.metrics, name)) / Math.max(0.001, (now.at - before.at) / 1000);
}

function plot(title, value, text) {
  const f = server.figures.get(title) ?? { values: [] };
  server.figures.set(title, f);
  f.values.push(value);
  if (f.values.length > plotPoints) f.values.shift();
  if (!f.root) {
    f.number = make("b");
    f.line = draw("path");
    f.area = draw("path", { class: "area" });
    f.svg = draw("svg", { viewBox: `0 0 ${plotPoints - 1} 30`, preserveAspectRatio: "none", role: "img" }, f.area, f.line);
    f.root = make("section", { class: "card plot" }, make("h3", {}, title), f.number, f.svg);
    $("plots").append(f.root);
  }
  const top = Math.max(...f.values, 1e-9), from = plotPoints - f.values.length;
  const points = f.values.map((v, i) => `${from + i},${(29 - 27 * v / top).toFixed(2)}`);
  f.line.setAttribute("d", "M" + points.join("L"));
  f.area.setAttribute("d", `M${from},30L${points.join("L")}L${plotPoints - 1},30Z`);
  f.number.textContent = text;
  f.svg.setAttribute("aria-label", `${title} over the last ${Math.round(f.values.length * plotEvery / 1000)} seconds, now ${text}, at most ${shortNumber(top)}`);
}

const shortNumber = n => n >= 1e6 ? (n / 1e6).toFixed(1) + " M" : n >= 1e4 ? (n / 1e3).toFixed(1) + " k"
  : Number.isInteger(n) ? String(n) : n.toFixed(n < 10 ? 2 : 1);

function plotFigures(now) {
  plot("Waiting", now.queue.waiting, shortNumber(now.queue.waiting));
  plot("Being drawn", now.queue.running, shortNumber(now.queue.running));
  if (!now.metrics) return;
  const m = now.metrics, pictures = 60 * rate(now, "controlnetd_images_total"), turns = rate(now, "controlnetd_step_duration_seconds_count");
  const busy = sum(m, "controlnetd_worker_lanes_busy"), lanes = sum(m, "controlnetd_worker_lanes");
  const used = sum(m, "controlnetd_gpu_memory_used_bytes") || sum(m, "controlnetd_worker_resident_bytes");
  const cpu = 100 * rate(now, "process_cpu_seconds_total");
  plot("Pictures a minute", pictures, shortNumber(Math.round(10 * pictures) / 10));
  plot("Batches a second", turns, shortNumber(Math.round(10 * turns) / 10));
  plot("Lanes in use", busy, busy + " of " + lanes);
  plot(sum(m, "controlnetd_gpu_memory_total_bytes") > 0 ? "Device memory" : "Models in memory", used, bytes(used));
  plot("Oldest that waits", sum(m, "controlnetd_queue_oldest_job_age_seconds"), seconds(sum(m, "controlnetd_queue_oldest_job_age_seconds")));
  plot("Requests a second", rate(now, "controlnetd_http_requests_total"), shortNumber(Math.round(10 * rate(now, "controlnetd_http_requests_total")) / 10));
  plot("Failed", sum(m, "controlnetd_jobs_failed_total"), shortNumber(sum(m, "controlnetd_jobs_failed_total")));
  plot("Daemon's processor", cpu, Math.round(cpu) + " %");
}

/* ---- tables ---- */

/* columns: [title, kind]; rows: of texts, numbers or elements. */
function showTable(place, columns, rows, none) {
  if (place.contains(document.activeElement) && document.activeElement !== place) return; /* somebody is at its buttons */
  if (rows.length === 0) {
    place.replaceChildren(make("p", { class: "note" }, none));
    return;
  }
  place.replaceChildren(make("table", {},
    make("thead", {}, make("tr", {}, ...columns.map(([title, kind]) => make("th", { scope: "col", class: kind },
      title === "" ? make("span", { class: "hidden" }, "Actions") : title)))),
    make("tbody", {}, ...rows.map(r => make("tr", {}, ...r.map((cell, i) => make("td", { class: columns[i][1] }, cell)))))));
}

/* A button that does something and looks again. */
function action(text, label, what) {
  return make("button", { type: "button", class: "plain", "aria-label": label, onclick: async e => {
    e.target.disabled = true;
    try { await what(); toast(label + ": done"); } catch (error) { toast(textOf(error)); }
    e.target.blur();
    lookAtServer();
  } }, text);
}

const bad = text => make("span", { class: "bad" }, text);

function showWorkers(ready, metrics) {
  showTable($("workers"), [["Device"], ["Backend"], ["State"], ["Jobs", "number"], ["Pictures", "number"], ["Memory", "number"], ["Restarts", "number"], ["Trouble"]],
    ready.workers.map((w, i) => [w.device, w.backend, w.healthy ? w.state : bad("unhealthy"), w.jobs + " of " + w.capacity,
      w.images + " of " + w.lanes,
      metrics ? bytes(sum(metrics, "controlnetd_worker_resident_bytes", { worker: String(i) })) : "",
      metrics ? String(sum(metrics, "controlnetd_worker_restarts_total", { worker: String(i) })) : "", w.trouble ? bad(w.trouble) : ""]),
    "There are no workers.");
}

function showQueue(now) {
  const failing = now.ready.checks.filter(c => !c.ok).map(c => c.name.replace("_", " ") + (c.detail ? ": " + c.detail : ""));
  $("queue-note").textContent = failing.length > 0 ? "Not ready: " + failing.join("; ")
    : `${now.queue.waiting} of ${now.queue.capacity} places are taken`;
  showTable($("queue"), [["Job"], ["Tenant"], ["State"], ["Model"], ["Pictures", "number"], ["Since"], [""]],
    now.jobs.map(v => [make("code", { title: v.id }, v.id.slice(0, 8)), v.tenant ?? "", v.state === "queued" ? "waiting" + (v.position ? ", place " + v.position : "")
      : Math.round(100 * v.progress.fraction) + " %", v.model ?? "", String(v.n), timeText(v.created_at),
      action("Cancel", "Cancel job " + v.id.slice(0, 8), () => api.call("v1/jobs/" + v.id + "/cancel", { method: "POST" }))]),
    "Nothing waits and nothing is drawn.");
}

function showModels() {
  const rows = catalog.models.map(m => {
    const path = "v1/models/" + encodeURIComponent(m.name);
    const button = m.broken || m.kind === "vae" ? "" : m.state === "unloaded"
      ? action("Load", "Load " + m.name, () => api.call(path + "/load", { method: "POST" }))
      : action("Unload", "Unload " + m.name, () => api.call(path + "/unload", { method: "POST" }));
    return [m.name, { base: "model", controlnet: "ControlNet", vae: "autoencoder" }[m.kind] ?? m.kind, m.bytes ? bytes(m.bytes) : "",
            m.broken ? bad(m.broken) : m.state ?? "", m.resident_bytes ? bytes(m.resident_bytes) : "", button];
  });
  for (const p of catalog.passedOver ?? []) rows.push([p.name, "none", "", p.reason, "", ""]);
  showTable($("models"), [["Name"], ["Kind"], ["Files", "number"], ["State"], ["In memory", "number"], [""]], rows, "There are no models.");
}

function showTenants(list) {
  const limit = n => n === 0 ? "no limit" : String(n);
  showTable($("tenants"), [["Name"], ["Waiting", "number"], ["Running", "number"], ["Weight", "number"], ["May wait", "number"], ["May run", "number"], ["Priority", "number"]],
    list.map(t => [t.name, String(t.waiting), String(t.running), String(t.weight), limit(t.max_waiting), limit(t.max_running), "≤ " + t.max_priority]),
    "Nobody has sent anything yet.");
}

/* ---- looking ---- */

async function activeJobs() {
  const lists = await Promise.all(["running", "queued"].map(s => api.json("v1/jobs?all=true&limit=50&state=" + s)));
  return lists.flatMap(l => l.jobs);
}

async function lookAtServer() {
  clearTimeout(server.timer);
  if ($("server").hidden) return;
  try {
    const [queue, ready, tenants, metrics, jobsNow] = await Promise.all([
      api.json("v1/queue"), api.fetch("readyz?verbose").then(r => r.json()), api.json("v1/tenants"),
      api.fetch("metrics").then(r => r.ok ? r.text() : null), activeJobs().catch(() => []), loadCatalog()]);
    const now = { at: performance.now(), queue, ready, jobs: jobsNow, metrics: metrics === null ? null : readMetrics(metrics) };
    plotFigures(now);
    showWorkers(ready, now.metrics);
    showQueue(now);
    showModels();
    showTenants(tenants.tenants);
    server.last = now;
  } catch (e) {
    $("queue-note").textContent = textOf(e);
  }
  if (!document.hidden) server.timer = setTimeout(lookAtServer, plotEvery);
}
