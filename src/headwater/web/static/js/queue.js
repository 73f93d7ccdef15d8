// The list of jobs: what computes, what waits at which place, what was done.
import { h, fill, byId, clock, sentence } from "./dom.js";
import { request } from "./api.js";
import { tell } from "./tell.js";

export const WORDS = { waiting: "waiting", running: "running", done: "done", missed: "missed its goal", refused: "refused", cancelled: "cancelled", failed: "failed" };

/** What a job is, in a few words: "Inpaint cat.png". */
export function jobTitle(job) {
  const verb = sentence(job.command.split(" ")[1]);
  if (job.files.input) return `${verb} ${job.files.input}`;
  const asked = job.values.prompt || ["gap", "homo", "lumo", "mu", "alpha", "cv", "qed", "logp", "sa"].filter((k) => job.values[k]).map((k) => `${k} ${job.values[k]}`).join(", ");
  return `${verb} ${asked || { image: "pictures", audio: "music", molecule: "molecules" }[job.command.split(" ")[0]]}`;
}

export class QueueView {
  constructor(jobs, open) {
    this.jobs = jobs;
    this.open = open;
    this.items = new Map();
    this.pause = h("button.quiet", { onclick: () => tell(request("PUT", "/api/queue", { paused: !jobs.paused })) });
    this.list = h("ol.jobs", {});
    fill(byId("queue"), h("div.head", {}, h("h2", {}, "Jobs"), this.pause), this.list);
    jobs.addEventListener("change", ({ detail }) => (detail.what === "progress" ? this.#follow(detail.id) : this.draw()));
    setInterval(() => this.jobs.list.filter((job) => job.state === "running").forEach((job) => this.#follow(job.id)), 1000);
    this.draw();
  }

  draw() {
    const { jobs } = this;
    fill(this.pause, jobs.paused ? "Go on" : "Pause");
    this.pause.title = jobs.paused ? "Begin the next job" : "Begin no further job";
    const order = { running: 0, waiting: 1 };
    const sorted = jobs.list.map((job, i) => [order[job.state] ?? 2, order[job.state] === 1 ? i : -i, job])
      .sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((entry) => entry[2]);
    this.items = new Map();
    fill(this.list, sorted.map((job) => this.#item(job)));
    if (!sorted.length) fill(this.list, h("li.none", {}, "Nothing yet. Results stay here."));
    const alert = byId("trouble");
    alert.hidden = !(jobs.trouble || jobs.up === false);
    fill(alert, jobs.trouble || (jobs.up === false ? "The server does not answer. The page goes on by itself when it does." : ""));
  }

  #item(job) {
    const line = h("span.line");
    const over = !["waiting", "running"].includes(job.state);
    const button = over
      ? h("button.quiet.act", { title: "Remove the job and its files", "aria-label": `Remove ${jobTitle(job)}`, onclick: () => tell(request("DELETE", `/api/jobs/${job.id}`)) }, "×")
      : h("button.quiet.act", { title: "Cancel; what it has is kept", "aria-label": `Cancel ${jobTitle(job)}`, onclick: () => tell(request("POST", `/api/jobs/${job.id}/cancel`)) }, "Cancel");
    const card = h("button.card", { onclick: () => this.open(job.id) }, h("span.title", {}, jobTitle(job)), line);
    const item = h("li", { class: `job ${job.state}`, "data-job": job.id, "aria-current": this.current === job.id ? "true" : null }, card, button);
    this.items.set(job.id, line);
    this.#follow(job.id);
    return item;
  }

  #follow(id) {
    const job = this.jobs.all.get(id), line = this.items.get(id);
    if (!job || !line) return;
    const took = job.started && job.ended ? clock(job.ended - job.started) : "";
    const many = new Set(this.jobs.list.map((other) => other.device)).size > 1;
    const text = {
      waiting: `${this.jobs.paused ? "paused, " : ""}place ${this.jobs.place(job)}`,
      running: `running ${clock(Date.now() / 1000 - job.started)}`,
    }[job.state] ?? [WORDS[job.state], took].filter(Boolean).join(" · ");
    fill(line, h("i.dot"), text, many ? ` · ${job.device}` : "");
  }

  mark(id) {
    this.current = id;
    for (const item of this.list.children) item.toggleAttribute("aria-current", item.dataset.job === id);
  }
}
