"use strict";
/* The job that is shown: its progress, its pictures, what is known of them. */

const jobs = new Map();   /* id: {view, parameters, urls: [], preview, types} */
const stage = { id: null, index: 0, told: "" };

const isActive = view => view.state === "queued" || view.state === "running";
const shownJob = () => jobs.get(stage.id);

/* The job of a view: made, or brought up to date. */
function noteJob(view) {
  const job = jobs.get(view.id) ?? { urls: [], blobs: [], parameters: null, preview: null };
  if (view.parameters) job.parameters = view.parameters;
  job.view = { ...job.view, ...view };
  jobs.set(view.id, job);
  return job;
}

/* The picture as a Blob, fetched once. */
function pictureOf(job, index) {
  return job.blobs[index] ??= api.call(job.view.images[index].url).then(r => r.blob()).catch(e => {
    job.blobs[index] = undefined;
    throw e;
  });
}

async function urlOf(job, index) {
  const blob = await pictureOf(job, index);
  return job.urls[index] ??= URL.createObjectURL(blob);
}

function dropJob(id) {
  for (const url of jobs.get(id)?.urls ?? []) if (url) URL.revokeObjectURL(url);
  jobs.delete(id);
}

/* ---- what is shown ---- */

function showJob(id, index = 0) {
  stage.id = id;
  stage.index = index;
  renderStage();
  markTile();
  followShown();
}

function sayState(view) {
  if (view.state === "queued") {
    const place = view.position > 1 ? "waiting, place " + view.position : view.position === 1 ? "next" : "waiting";
    return place + (view.eta_s !== undefined ? " · ready in about " + seconds(view.eta_s) : "");
  }
  const p = view.progress ?? {};
  if (view.cancelling) return "cancelling …";
  if (!p.total) return "starting …";
  return `step ${p.done} of ${p.total}` + (view.eta_s !== undefined ? ` · ${seconds(view.eta_s)} left` : "") +
    (view.attempt > 1 ? " · attempt " + view.attempt : "");
}

/* For screen readers: less often than it is written. */
function tellState(view) {
  const part = view.state === "running" ? Math.floor(4 * (view.progress?.fraction ?? 0)) * 25 : 0;
  const told = view.id + view.state + (view.position ?? "") + part;
  if (told === stage.told) return;
  stage.told = told;
  announce(view.state === "queued" ? sayState(view) : view.state === "running" ? part + " percent" : "");
}

function renderMeter(view) {
  const active = isActive(view);
  $("meter").hidden = !active;
  if (!active) return;
  $("progress").value = view.progress?.fraction ?? 0;
  $("saying").textContent = sayState(view);
  $("cancel").disabled = Boolean(view.cancelling);
  tellState(view);
}

function showImage(src, alt, rough) {
  const img = $("picture");
  if (src && img.getAttribute("src") !== src) img.src = src;
  img.alt = alt;
  img.classList.toggle("rough", rough);
  img.hidden = !src;
  $("empty").hidden = Boolean(src);
}

function renderStage() {
  const job = shownJob(), view = job?.view;
  if (!view) {
    $("meter").hidden = $("about").hidden = true;
    $("strip").replaceChildren();
    showImage(null, "", false);
    $("empty").replaceChildren("The picture appears here.", make("br"), "Write a prompt, draw if you like, and press ", make("b", {}, "Draw"), ".");
    return;
  }
  renderMeter(view);
  renderStrip(job);
  renderAbout(job);
  renderPicture(job);
}

async function renderPicture(job) {
  const { view } = job, ready = view.images?.[stage.index]?.ready, words = job.parameters?.prompt;
  if (ready) {
    try {
      const url = await urlOf(job, stage.index);
      if (shownJob() === job) showImage(url, (words || "Picture") + ", seed " + view.images[stage.index].seed, false);
      return;
    } catch (e) {
      if (shownJob() !== job) return;
      showImage(null, "", false);
      $("empty").textContent = textOf(e);
      return;
    }
  }
  if (job.preview && isActive(view)) {
    showImage(job.preview, "Preview", true);
    return;
  }
  showImage(null, "", false);
  $("empty").textContent = { queued: "It waits for its turn.", running: "It is being drawn.", cancelled: "It was cancelled.",
                             expired: "Its time was over before it was drawn.", failed: "It failed.",
                             succeeded: "Its pictures are no longer kept." }[view.state] ?? view.state;
  if (view.error && view.state !== "cancelled") $("empty").append(make("br"), view.error.detail ?? view.error.title);
}

function renderStrip(job) {
  const ready = (job.view.images ?? []).filter(i => i.ready);
  if (ready.length < 2) {
    $("strip").replaceChildren();
    return;
  }
  $("strip").replaceChildren(...ready.map(i => {
    const img = make("img", { alt: "" });
    urlOf(job, i.index).then(url => { img.src = url; }).catch(() => {});
    return make("li", {}, make("button", { type: "button", class: "tile", "aria-label": pictureName(job, i),
                                           "aria-current": i.index === stage.index ? "true" : null,
                                           onclick: () => showJob(job.view.id, i.index) }, img));
  }));
}

/* A control map that was asked for has no seed worth telling. */
function pictureName(job, image) {
  return image.index >= job.view.n ? "Control map" : "Picture " + (image.index + 1) + ", seed " + image.seed;
}

function timeText(text) {
  const t = new Date(text), today = t.toDateString() === new Date().toDateString();
  return t.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

function renderAbout(job) {
  const { view } = job, image = view.images?.[stage.index], over = !isActive(view);
  $("about").hidden = !over && !image?.ready;
  if ($("about").hidden) return;
  const took = view.started_at && view.ended_at ? (new Date(view.ended_at) - new Date(view.started_at)) / 1000 : null;
  const facts = [view.model];
  if (image?.ready) facts.push(`seed ${image.seed}`, `${image.width} × ${image.height}`, bytes(image.bytes));
  if (took !== null) facts.push(seconds(took));
  if (view.created_at) facts.push(timeText(view.created_at));
  if (view.expires_at && image?.ready) facts.push("kept until " + timeText(view.expires_at));
  $("facts").textContent = facts.filter(Boolean).join(" · ");
  $("warnings").hidden = !view.warnings?.length;
  $("warnings").replaceChildren(...(view.warnings ?? []).map(w => make("li", {}, (w.pointer ? w.pointer + ": " : "") + w.detail)));
  for (const id of ["download", "use-init", "use-control", "use-seed"]) $(id).hidden = !image?.ready;
  $("use-settings").hidden = !job.parameters && !image?.ready;
  $("remove").hidden = !over;
  document.querySelector(".info").hidden = !image?.ready;
  if (image?.ready) {
    $("last-seed").disabled = false;
    urlOf(job, stage.index).then(url => {
      $("download").href = url;
      $("download").download = `${view.id.slice(0, 8)}-${image.seed}.${image.format === "jpeg" ? "jpg" : image.format}`;
    }).catch(() => {});
  }
  if (document.querySelector(".info").open) showInfotext();
}

async function showInfotext() {
  const job = shownJob(), index = stage.index;
  if (!job?.view.images?.[index]?.ready) return;
  let text = "";
  try {
    text = (await specOfPicture(await pictureOf(job, index))).info;
  } catch (e) { text = job.parameters ? jsonOf(job.parameters, 2) : textOf(e); }
  if (shownJob() === job && stage.index === index) $("infotext").textContent = text;
}

/* The settings that make the picture that is shown once more. */
async function useShownSettings() {
  const job = shownJob(), image = job.view.images?.[stage.index];
  if (!job.parameters) {
    if (image?.ready) await useSettingsOf(await pictureOf(job, stage.index));
    return;
  }
  writeRequest({ ...job.parameters, ...(image?.ready ? { seed: image.seed, n: 1 } : {}) });
  toast("Its settings are in the form");
}

/* The picture before or after the one that is shown, over all jobs. */
function step(by) {
  const tiles = [...$("tiles").querySelectorAll(".tile")], at = tiles.findIndex(t => t.hasAttribute("aria-current"));
  const next = tiles[at + by];
  if (next) {
    next.click();
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
}
