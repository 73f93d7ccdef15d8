// Requests to the server, and what it tells by itself.

export class Refusal extends Error {}

let askToken = async () => false;
export const onToken = (ask) => (askToken = ask);

/** The JSON of an answer; a refusal is thrown with its two sentences. */
export async function request(method, path, body, { raw = false } = {}) {
  const options = { method };
  if (body !== undefined) {
    options.body = raw ? body : JSON.stringify(body);
    options.headers = { "Content-Type": raw ? "application/octet-stream" : "application/json" };
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refusal("The server does not answer. Is 'headwater serve' still running?");
  }
  if (response.status === 401 && (await askToken())) return request(method, path, body, { raw });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(answer.what ? `${answer.what} ${answer.cure}` : `The server said ${response.status}.`);
  return answer;
}

/** A file to the server: {id, name, kind, bytes}. */
export const send = (file, kind, name = file.name || kind) =>
  request("POST", `/api/files?kind=${kind}&name=${encodeURIComponent(name)}`, file, { raw: true });

export const uploadUrl = (upload) => `/api/files/${upload.id}`;
export const fileUrl = (job, name, download = false) =>
  `/api/jobs/${job.id}/files/${encodeURIComponent(name)}${download ? "?download=true" : ""}`;

/** All jobs as the server has them, kept up to date; `change` events say which job it was. */
export class Jobs extends EventTarget {
  constructor() {
    super();
    this.all = new Map();
    this.paused = false;
    this.trouble = "";
  }

  open() {
    const source = new EventSource("/api/events");
    const on = (name, hear) => source.addEventListener(name, (event) => hear(JSON.parse(event.data)));
    on("state", (state) => {
      this.all = new Map(state.jobs.map((job) => [job.id, job]));
      this.#queue(state);
      this.#tell("state");
    });
    on("job", (job) => {
      this.all.set(job.id, job);
      this.#tell("job", job.id);
    });
    on("progress", ({ id, progress, points }) => {
      const job = this.all.get(id);
      if (!job) return;
      job.progress = progress;
      job.curve.push(...points);
      this.#tell("progress", id);
    });
    on("queue", (state) => {
      this.#queue(state);
      this.#tell("queue");
    });
    on("removed", ({ id }) => {
      this.all.delete(id);
      this.#tell("removed", id);
    });
    source.addEventListener("open", () => this.#link(true));
    source.addEventListener("error", () => {
      this.#link(false);
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.#again(), 3000); // refused: ask for the token again
    });
    if (this.opened) return;
    this.opened = true;
    addEventListener("pageshow", (event) => event.persisted && location.reload());
  }

  async #again() {
    await request("GET", "/api/page").catch(() => null);
    this.open();
  }

  #queue({ paused, trouble }) {
    this.paused = paused;
    this.trouble = trouble;
  }

  #link(up) {
    this.up = up;
    this.#tell("link");
  }

  #tell(what, id = null) {
    this.dispatchEvent(new CustomEvent("change", { detail: { what, id } }));
  }

  get list() {
    return [...this.all.values()];
  }

  /** Its place among those that wait for the same device, from 1. */
  place(job) {
    const before = this.list.filter((other) => other.device === job.device && other.state === "waiting");
    return before.indexOf(job) + 1;
  }
}
