"use strict";
/* The account's jobs: found again after a reload, kept up to date while some of them are active. */

const gallery = { order: [], next: null, page: 24, timer: 0, tiles: new Map(), reading: false, kept: true };

/* Tiles get their pictures when they are seen. */
const onSight = new IntersectionObserver(entries => {
  for (const e of entries) {
    if (!e.isIntersecting) continue;
    onSight.unobserve(e.target);
    e.target.load();
  }
}, { rootMargin: "200px" });

async function readJobs(after) {
  const page = await api.json("v1/jobs?limit=" + gallery.page + (after ? "&after=" + encodeURIComponent(after) : ""));
  const seen = page.jobs.filter(v => v.durable && (v.kind ?? "draw") === "draw");
  for (const view of seen) {
    const old = jobs.get(view.id)?.view;
    if (!old || isActive(old) || old.state !== view.state || old.gone !== view.gone) noteJob(view);
  }
  return { ids: seen.map(v => v.id), next: page.next ?? null };
}

/* The newest page again; older ones that were read stay behind it. */
async function refreshGallery() {
  if (gallery.reading || document.hidden) return planRefresh();
  gallery.reading = true;
  try {
    const { ids, next } = await readJobs(null), local = gallery.order.filter(id => id.startsWith("local"));
    if (gallery.order.length <= gallery.page) gallery.next = next;
    gallery.order = [...new Set([...local, ...ids, ...gallery.order])].filter(id => jobs.has(id));
    renderGallery();
    if (stage.id && isActive(shownJob().view)) renderMeter(shownJob().view);
  } catch (e) {
    if (e.kind === "no-store") gallery.kept = false;
    $("gallery-note").textContent = e.kind === "no-store" ? "This server keeps no jobs: pictures stay in this tab only." : textOf(e);
  }
  gallery.reading = false;
  planRefresh();
}

function planRefresh() {
  clearTimeout(gallery.timer);
  const busy = [...jobs.values()].some(j => isActive(j.view));
  if (gallery.kept) gallery.timer = setTimeout(refreshGallery, busy ? 2000 : 10000);
}

async function olderJobs() {
  const { ids, next } = await readJobs(gallery.next);
  gallery.order = [...new Set([...gallery.order, ...ids])];
  gallery.next = next;
  renderGallery();
}

/* ---- tiles ---- */

/* [key, job, index]: one for each picture; one for a job that has none yet, or never gets one. */
function tilesOf(id) {
  const job = jobs.get(id), ready = (job.view.images ?? []).filter(i => i.ready);
  if (job.view.gone) return [];
  const list = ready.map(i => [id + "/" + i.index, job, i.index]);
  if (isActive(job.view) || ready.length === 0) list.unshift([id, job, null]);
  return list;
}

function makeTile(key, job, index) {
  const button = make("button", { type: "button", class: "tile", onclick: () => openTile(job, index) });
  if (index !== null) {
    const img = make("img", { alt: "" });
    button.append(img);
    button.load = () => urlOf(job, index).then(url => { img.src = url; }).catch(() => {});
    button.setAttribute("aria-label", pictureName(job, job.view.images[index]));
    onSight.observe(button);
  }
  gallery.tiles.set(key, make("li", {}, button));
}

function openTile(job, index) {
  showJob(job.view.id, index ?? 0);
  if (matchMedia("(max-width: 49.99rem)").matches) $("stage-title").scrollIntoView();
}

function updateTile(li, job) {
  const words = { queued: "waiting", running: "drawing" }[job.view.state] ?? job.view.state;
  const text = words + (job.view.state === "queued" && job.view.position > 1 ? ", place " + job.view.position : "");
  const bar = isActive(job.view) ? make("progress", { max: 1, value: job.view.progress?.fraction ?? 0, "aria-hidden": "true" }) : null;
  if (li.said === text && !bar) return;
  li.said = text;
  li.firstChild.replaceChildren(make("span", { class: "ring" }, text), ...(bar ? [bar] : []));
}

function renderGallery() {
  const wanted = gallery.order.flatMap(tilesOf), list = $("tiles");
  const keys = new Set(wanted.map(w => w[0]));
  for (const [key, li] of gallery.tiles) if (!keys.has(key)) { li.remove(); gallery.tiles.delete(key); }
  wanted.forEach(([key, job, index], i) => {
    if (!gallery.tiles.has(key)) makeTile(key, job, index);
    const li = gallery.tiles.get(key);
    if (index === null) updateTile(li, job);
    if (list.children[i] !== li) list.insertBefore(li, list.children[i] ?? null);
  });
  $("more").hidden = !gallery.next;
  if (gallery.kept) $("gallery-note").textContent = wanted.length === 0 ? "none yet" : "";
  markTile();
}

function markTile() {
  const job = shownJob();
  for (const li of gallery.tiles.values()) li.firstChild.removeAttribute("aria-current");
  if (!job) return;
  const li = gallery.tiles.get(stage.id + "/" + stage.index) ?? gallery.tiles.get(stage.id);
  li?.firstChild.setAttribute("aria-current", "true");
}

/* ---- ends ---- */

async function cancelJob(id) {
  const job = jobs.get(id);
  if (!job || !isActive(job.view)) return;
  if (id.startsWith("local")) return job.abort.abort();
  job.view.cancelling = true;
  renderMeter(job.view);
  try {
    noteJob(await api.json("v1/jobs/" + id + "/cancel", { method: "POST" }));
    announce("Cancelled");
  } catch (e) {
    job.view.cancelling = false;
    showError(e);
  }
  renderGallery();
  if (stage.id === id) renderStage();
}

async function removeJob(id) {
  if (!id.startsWith("local")) await api.call("v1/jobs/" + id, { method: "DELETE" });
  gallery.order = gallery.order.filter(x => x !== id);
  dropJob(id);
  stage.id = null;
  renderGallery();
  renderStage();
  announce("Removed");
  $("stage-title").focus();
}
