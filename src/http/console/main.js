"use strict";
/* The page's start: what listens to what. */

/* ---- the key ---- */

function askForKey(error) {
  $("key").value = api.key;
  $("key-note").textContent = error ? "The server wants a key: " + textOf(error).replaceAll("\n", " ") : "";
  openDialog($("key-dialog"));
}

$("key-form").onsubmit = e => {
  if (e.submitter?.value === "cancel") return;
  api.setKey(e.submitter?.value === "forget" ? "" : $("key").value.trim());
  for (const id of [...jobs.keys()]) dropJob(id);
  gallery.kept = true;
  gallery.order = [];
  stage.id = null;
  renderGallery();
  renderStage();
  begin();
};

/* ---- what was typed outlives a reload ---- */

let restored = false;

function keepForm() {
  if (restored) sessionStorage.setItem("controlnetd.form", jsonOf(readFields()));
}

function restoreForm() {
  const text = sessionStorage.getItem("controlnetd.form");
  if (text && !restored) writeFields(parseJson(text));
  if (text) onModel();
  restored = true;
}

/* ---- the state of the server ---- */

let beginning = 0;

async function begin() {
  const mine = ++beginning;
  $("open-key").textContent = api.key ? "Key: set" : "Key";
  for (let wait = 1000; mine === beginning; wait = Math.min(wait * 1.5, 10000)) {
    try {
      await loadCatalog();
      break;
    } catch (e) {
      setState("bad", e.status === 401 || e.status === 403 ? "a key is needed" : textOf(e).split("\n")[0]);
      if (e.status === 401) { askForKey(e); return; }
    }
    await sleep(wait);
  }
  if (mine !== beginning) return;
  restoreForm();
  await Promise.all([askWhetherAdmin(), refreshGallery(), watchState()]);
  showActive();
  readHash();
}

/* After a reload: the job that is being made is shown, else the newest picture. */
function showActive() {
  if (stage.id) return;
  const id = gallery.order.find(x => isActive(jobs.get(x).view)) ?? gallery.order.find(x => jobs.get(x).view.images.some(i => i.ready));
  if (id) showJob(id, jobs.get(id).view.images.find(i => i.ready)?.index ?? 0);
}

function setState(is, text) {
  if ($("state").textContent !== text) $("state").textContent = text;
  if ($("state").dataset.is !== is) announce("The server: " + text);
  $("state").dataset.is = is;
}

let stateTimer = 0;
async function watchState() {
  clearTimeout(stateTimer);
  if (!document.hidden) {
    try {
      const q = await api.json("v1/queue");
      const rest = q.waiting + q.running === 0 ? "" : ` · ${q.running} being drawn, ${q.waiting} waiting`;
      if (q.workers.ready === 0) setState("bad", "no worker is ready");
      else if (!q.accepts) setState("bad", "the queue is full" + rest);
      else setState("ready", "ready" + rest);
    } catch (e) {
      setState("bad", textOf(e).split("\n")[0]);
    }
  }
  stateTimer = setTimeout(watchState, 5000);
}

/* ---- views ---- */

function readHash() {
  const onServer = location.hash === "#server" && server.allowed;
  $("server").hidden = !onServer;
  $("draw").hidden = onServer;
  $("to-server").toggleAttribute("aria-current", onServer);
  $("to-draw").toggleAttribute("aria-current", !onServer);
  for (const id of ["to-server", "to-draw"]) if ($(id).hasAttribute("aria-current")) $(id).setAttribute("aria-current", "page");
  if (onServer) lookAtServer();
}

window.onhashchange = () => {
  readHash();
  $($("server").hidden ? "stage-title" : "server-title").focus({ preventScroll: true });
};

/* ---- pictures that come from outside ---- */

let pastedFile = null;

function takeForInit(file) {
  $("init-section").open = true;
  initBoard.take(file);
  $("init-section").scrollIntoView({ block: "nearest" });
}

function takeForControl(file) {
  const unit = units.find(u => !u.board.isUsed) ?? addControl();
  unit.chosen = false;
  unit.board.take(file);
  unit.root.scrollIntoView({ block: "nearest" });
}

function askWhatFor(file) {
  pastedFile = file;
  openDialog($("paste-dialog"));
}

const pictureIn = transfer => [...(transfer?.files ?? [])].find(f => f.type.startsWith("image/") || /\.(heic|avif)$/i.test(f.name));

document.addEventListener("paste", e => {
  const file = pictureIn(e.clipboardData);
  if (!file) return;
  e.preventDefault();
  const board = document.activeElement?.closest(".board")?.board;
  if (board) board.take(file);
  else askWhatFor(file);
});
document.addEventListener("dragover", e => e.preventDefault());
document.addEventListener("drop", e => {
  e.preventDefault();
  const file = pictureIn(e.dataTransfer);
  if (file) useSettingsOf(file);
});

for (const [id, use] of [["paste-control", takeForControl], ["paste-init", takeForInit], ["paste-settings", useSettingsOf]])
  $(id).onclick = () => { $("paste-dialog").close(); use(pastedFile); };

/* ---- buttons ---- */

for (const b of document.querySelectorAll("[data-close]")) b.onclick = () => b.closest("dialog").close();

$("form").onsubmit = e => { e.preventDefault(); submit(); };
$("add-control").onclick = () => addControl().part("model").focus();
$("add-adapter").onclick = () => addAdapter().part("name").focus();
$("cancel").onclick = () => cancelJob(stage.id);
$("remove").onclick = () => removeJob(stage.id).catch(e => toast(textOf(e)));
$("more").onclick = () => olderJobs().catch(e => toast(textOf(e)));
$("use-settings").onclick = useShownSettings;
$("use-seed").onclick = () => { $("seed").value = shownJob().view.images[stage.index].seed; toast("Its seed is in the form"); };
$("last-seed").onclick = () => { $("seed").value = shownJob()?.view.images?.[stage.index]?.seed ?? $("seed").value; };
$("use-init").onclick = async () => takeForInit(await pictureOf(shownJob(), stage.index));
$("use-control").onclick = async () => takeForControl(await pictureOf(shownJob(), stage.index));
document.querySelector(".info").ontoggle = e => { if (e.target.open) showInfotext(); };
$("open-key").onclick = () => askForKey(null);
$("open-help").onclick = () => openDialog($("help-dialog"));
$("open-settings").onclick = () => { $("settings-note").textContent = ""; openDialog($("settings-dialog")); };
$("open-code").onclick = async () => { await renderCode(); openDialog($("code-dialog")); };
for (const radio of document.querySelectorAll("[name=language]")) radio.onchange = renderCode;
$("copy-code").onclick = () => copyText($("code").textContent);
$("refresh").onclick = () => api.call("v1/models/refresh", { method: "POST" }).then(lookAtServer, e => toast(textOf(e)));

$("settings-file").onchange = async e => {
  if (await useSettingsOf(e.target.files[0])) $("settings-dialog").close();
  e.target.value = "";
};
$("read-settings").onclick = () => {
  try {
    writeRequest(specOfText($("settings-text").value));
    $("settings-dialog").close();
    toast("The settings are in the form");
  } catch (e) { $("settings-note").textContent = "This is no JSON: " + textOf(e); }
};
$("reset").onclick = () => { writeRequest({ prompt: $("prompt").value }); $("settings-dialog").close(); };

/* ---- the form ---- */

$("model").onchange = onModel;
for (const id of ["width", "height"]) $(id).oninput = later(onSize, 300);
$("form").addEventListener("input", later(() => { summarise(); keepForm(); }, 200));
$("form").addEventListener("change", () => { summarise(); keepForm(); });

document.addEventListener("keydown", e => {
  const open = document.querySelector("dialog[open]");
  if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && !open && !$("draw").hidden) {
    e.preventDefault();
    submit();
  } else if (e.key === "Escape" && !open && shownJob() && isActive(shownJob().view)) {
    cancelJob(stage.id);
  } else if ((e.key === "ArrowLeft" || e.key === "ArrowRight") && document.activeElement?.closest("#tiles")) {
    e.preventDefault();
    step(e.key === "ArrowLeft" ? -1 : 1);
  }
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  refreshGallery();
  watchState();
  lookAtServer();
});

/* ---- the start ---- */

initBoard = new Board($("init-board"), "mask", "Picture to change", onSize);
depthBoard = new Board($("depth-board"), "drawing", "Depth map");
$("prompt").value = "a green apple";
renderStage();
begin();
