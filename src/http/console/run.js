"use strict";
/* From the form to a job, and what happens to the job that is shown. */

let sending = false;
let following = null; /* AbortController of the stream of events */

/* A key of the web's own, the same for each attempt to send one request. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), x => x.toString(16).padStart(8, "0")).join("");
}

function bodyOf({ spec, inputs }) {
  const body = new FormData();
  body.append("params", jsonOf(spec));
  for (const { name, blob } of inputs) body.append(name, blob, name);
  return body;
}

async function submit() {
  if (sending) return;
  clearErrors();
  if (missingPicture()) return;
  sending = true;
  $("go").disabled = true;
  $("go").textContent = "Sending …";
  try {
    const request = await readRequest();
    await (gallery.kept ? send(request) : drawHere(request));
  } catch (e) {
    showError(e);
  }
  sending = false;
  $("go").disabled = false;
  $("go").textContent = "Draw";
}

async function send(request) {
  const spec = { preview_every: Math.max(1, Math.floor((Number(request.spec.steps) || 20) / 8)), ...request.spec };
  let accepted;
  try {
    accepted = await sendOnce(bodyOf({ ...request, spec }), newKey());
  } catch (e) {
    if (e.kind !== "no-store") throw e;
    gallery.kept = false;
    $("gallery-note").textContent = "This server keeps no jobs: pictures stay in this tab only.";
    return drawHere(request);
  }
  noteJob({ images: [], warnings: [], n: spec.n ?? 1, durable: true, kind: "draw", created_at: new Date().toISOString(),
            attempt: 1, progress: { fraction: 0, done: 0, total: 0 }, ...accepted });
  gallery.order.unshift(accepted.id);
  renderGallery();
  showJob(accepted.id);
  planRefresh();
  if (matchMedia("(max-width: 49.99rem)").matches) $("stage-title").scrollIntoView();
}

/* A connection that breaks is tried again: the key makes that one job. */
async function sendOnce(body, key) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await api.json("v1/jobs", { method: "POST", body, headers: { "Idempotency-Key": key } });
    } catch (e) {
      if (!(e instanceof TypeError) || attempt === 3) throw e;
      await sleep(700 * attempt);
    }
  }
}

/* Where the server keeps no jobs: one request, one answer, kept by this tab. */
async function drawHere(request) {
  const id = "local" + newKey(), abort = new AbortController();
  const job = noteJob({ id, state: "running", n: request.spec.n ?? 1, images: [], warnings: [], created_at: new Date().toISOString(),
                        started_at: new Date().toISOString(), progress: { fraction: 0, done: 0, total: 0 } });
  job.abort = abort;
  gallery.order.unshift(id);
  renderGallery();
  showJob(id);
  answerHere(job, request).catch(e => {
    job.view.state = abort.signal.aborted ? "cancelled" : "failed";
    if (!abort.signal.aborted) showError(e);
  }).finally(() => { renderGallery(); if (stage.id === id) renderStage(); });
}

async function answerHere(job, request) {
  const r = await api.json("v1/images", { method: "POST", body: bodyOf(request), headers: { Accept: "application/json" },
                                          signal: job.abort.signal });
  r.images.forEach((image, i) => {
    const blob = blobOf(image.data, "image/" + image.format);
    job.blobs[i] = Promise.resolve(blob);
    job.view.images.push({ ...image, data: null, index: i, ready: true, bytes: blob.size });
  });
  job.parameters = r.parameters;
  Object.assign(job.view, { state: "succeeded", model: r.model, warnings: r.warnings, ended_at: new Date().toISOString() });
}

/* ---- following ---- */

function followShown() {
  following?.abort();
  following = null;
  const job = shownJob();
  if (!job || job.view.id.startsWith("local")) return;
  if (!isActive(job.view)) { if (!job.parameters) complete(job); return; }
  following = new AbortController();
  follow(job, following.signal);
  watchQueue(job, following.signal);
}

/* The stream, taken up again where it broke, until the job is over. */
async function follow(job, signal) {
  while (!signal.aborted && isActive(job.view)) {
    const headers = job.last ? { "Last-Event-ID": job.last } : {};
    try {
      const r = await api.call("v1/jobs/" + job.view.id + "/events", { headers, signal });
      if (r.status === 204) break;
      for await (const { event, id, data } of readEvents(r.body)) {
        if (signal.aborted) return;
        if (id) job.last = id;
        onEvent(job, event, data);
      }
    } catch (e) {
      if (signal.aborted) return;
      if (e instanceof Problem && e.status < 500 && e.status !== 429) { showError(e); return; }
      $("saying").textContent = "The connection broke; trying again …";
    }
    if (isActive(job.view)) await sleep(1000);
  }
  if (!signal.aborted) await complete(job);
}

function onEvent(job, event, data) {
  const { view } = job;
  if (event === "state") {
    Object.assign(view, { state: data.state, position: data.position, attempt: data.attempt });
    if (data.state === "running") view.eta_s = undefined;
  } else if (event === "progress") {
    Object.assign(view, { state: "running", eta_s: data.eta_s, progress: { fraction: data.fraction, done: data.done, total: data.total } });
  } else if (event === "preview") {
    job.preview = "data:image/" + data.format + ";base64," + data.data;
  } else if (event === "image") {
    gotImage(job, data);
  } else if (event === "done") {
    Object.assign(view, { state: data.state, error: data.error, warnings: data.warnings });
  }
  renderMeter(view);
  if (event === "preview" || event === "state") renderPicture(job);
}

/* Its seed and size are asked for: the event has only its place. */
async function gotImage(job, data) {
  try { noteJob(await api.json("v1/jobs/" + job.view.id)); } catch { return; }
  if (job.view.images[data.index]?.ready && stage.id === job.view.id) {
    stage.index = data.index;
    renderStage();
  }
  renderGallery();
}

/* While it waits: its place and when it may be ready, which no event tells. */
async function watchQueue(job, signal) {
  while (!signal.aborted && job.view.state === "queued") {
    try {
      const view = await api.json("v1/jobs/" + job.view.id, { signal });
      if (job.view.state !== "queued") return;
      noteJob(view);
      if (!signal.aborted) renderMeter(job.view);
    } catch { /* the stream tells what is wrong */ }
    await sleep(2000);
  }
}

/* All that is known of a job that is over. */
async function complete(job) {
  const { id } = job.view, was = job.view.state;
  try {
    noteJob(await api.json("v1/jobs/" + id));
  } catch (e) {
    if (e.kind !== "gone") return;
    job.view.gone = true;
  }
  job.preview = null;
  renderGallery();
  if (stage.id !== id) return;
  if (!job.view.images?.[stage.index]?.ready) stage.index = job.view.images?.find(i => i.ready)?.index ?? 0;
  renderStage();
  const image = job.view.images?.[stage.index];
  if (was === "succeeded" && image?.ready) announce("The picture is there, seed " + image.seed + ".");
  else announce(job.view.error?.detail ?? job.view.state);
}
