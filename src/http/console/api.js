"use strict";
/* Requests to the server: with the key, with its problem documents as errors, its events as they
   come. Paths are relative to the page's own address, so that it works below a prefix, too. */

/* Seeds go up to 2^63: those beyond 2^53 stay texts. */
function parseJson(text) {
  return JSON.parse(text.replace(/("seed":\s*)(\d{16,})/g, '$1"$2"'));
}

const api = {
  key: sessionStorage.getItem("controlnetd.key") ?? "",

  setKey(key) {
    this.key = key;
    if (key) sessionStorage.setItem("controlnetd.key", key);
    else sessionStorage.removeItem("controlnetd.key");
  },

  headers(more) {
    return this.key ? { ...more, Authorization: "Bearer " + this.key } : { ...more };
  },

  /* The answer, whatever its status. */
  fetch(path, options = {}) {
    return fetch(path.replace(/^\//, ""), { ...options, headers: this.headers(options.headers) });
  },

  /* The answer; one that is an error is thrown as Problem. */
  async call(path, options) {
    const r = await this.fetch(path, options);
    if (!r.ok) throw await Problem.of(r);
    return r;
  },

  async json(path, options) {
    const r = await this.call(path, options);
    return r.status === 204 ? null : parseJson(await r.text());
  },

  post(path, body, headers) {
    return this.call(path, { method: "POST", body, headers });
  },
};

/* A problem document (RFC 9457). fields: [{pointer, detail}]. */
class Problem extends Error {
  constructor(document, status) {
    super(document.detail || document.title || "status " + status);
    this.title = document.title ?? "status " + status;
    this.kind = (document.type ?? "").split(":").pop();
    this.status = status;
    this.fields = (document.errors ?? []).filter(e => e.pointer !== undefined);
    this.retryAfter = document.retry_after;
  }

  static async of(response) {
    let document = {};
    try { document = await response.json(); } catch { /* a proxy's page, or nothing */ }
    return new Problem(document, response.status);
  }

  /* A sentence for people. */
  get text() {
    const where = this.fields.map(f => f.pointer + ": " + f.detail);
    const lines = [this.title, ...(where.length > 0 ? where : [this.message])];
    return [...new Set(lines)].join("\n") +
      (this.retryAfter ? "\nTry again in " + this.retryAfter + " s." : "");
  }
}

function textOf(error) {
  if (error instanceof Problem) return error.text;
  return error instanceof TypeError ? "The server does not answer." : String(error.message ?? error);
}

/* The events of a stream, as {event, id, data}. An EventSource cannot send a key; fetch can. */
async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const field = {};
        for (const line of text.slice(0, end).split("\n")) {
          const at = line.indexOf(": ");
          if (at > 0) field[line.slice(0, at)] = line.slice(at + 2);
        }
        if (field.data) yield { event: field.event, id: field.id, data: JSON.parse(field.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
