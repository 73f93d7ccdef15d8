// One job: what it shows while it runs, what came out, and the command line that does the same.
import { h, fill, asCommand, clock, copy, sentence, wordsOf } from "./dom.js";
import { fileUrl, request } from "./api.js";
import { Curve } from "./plot.js";
import { jobTitle, WORDS } from "./queue.js";
import { tell } from "./tell.js";

export class JobView {
  constructor(page, id, bench) {
    Object.assign(this, { page, id, bench });
    this.state = null;
    this.head = h("div.job-head");
    this.body = h("div.job-body");
    this.node = h("div.job-view", {}, this.head, this.body);
    this.panel = h("div.settings");
    this.timer = setInterval(() => this.job?.state === "running" && this.#clock(), 1000);
  }

  get job() {
    return this.page.jobs.all.get(this.id);
  }

  leave() {
    clearInterval(this.timer);
    this.bench.forget();
    this.shown?.leave?.();
  }

  update() {
    const { job } = this;
    if (!job) return;
    if (job.state === "waiting") this.state = null;
    if (job.state !== this.state) {
      this.state = job.state;
      this.#begin(job);
    }
    if (job.state === "running") this.#follow(job);
  }

  #begin(job) {
    const over = !["waiting", "running"].includes(job.state);
    this.time = h("span.soft.time");
    fill(this.head, h("h2", {}, jobTitle(job)), h("span", { class: `chip ${job.state}` }, WORDS[job.state]), this.time,
      h("span.grow"),
      over ? h("button", { onclick: () => this.bench.again(job) }, "Edit and repeat")
        : h("button", { onclick: () => tell(request("POST", `/api/jobs/${job.id}/cancel`)) }, "Cancel"));
    this.shown?.leave?.();
    this.shown = null;
    this.bench.forget();
    if (job.state === "waiting") fill(this.body, h("div.drop", {}, h("p.large", {}, this.page.jobs.paused ? "The queue is paused." : `Place ${this.page.jobs.place(job)} in the queue`)));
    else if (job.state === "running") this.#live(job);
    else this.#ended(job);
    this.#side(job, over);
    this.#clock();
  }

  #live(job) {
    this.line = h("p.line", {}, "Loading the model");
    this.curve = this.bench.domain === "molecule" ? null : new Curve();
    this.drawn = -1;
    this.sample = h("div.watch", {}, this.bench.waiting(job));
    fill(this.body, this.sample, this.line, this.curve?.node ?? null);
  }

  #follow(job) {
    const { line, preview = 0, evaluations = 0 } = job.progress;
    const counted = evaluations ? `${evaluations} evaluation${evaluations === 1 ? "" : "s"}` : "";
    if (line) fill(this.line, [line.replaceAll(/ {2,}/g, " · "), counted].filter(Boolean).join(" · "));
    if (preview > 0 && preview !== this.drawn) {
      this.drawn = preview;
      this.bench.preview(job, `/api/jobs/${job.id}/preview?${preview}`, this.sample);
    }
    this.curve?.draw(job.curve);
  }

  async #ended(job) {
    const sentences = [job.sentence, ...job.notes].filter(Boolean);
    const words = sentences.length ? h("div", { class: `words-of ${job.state}` }, sentences.map((text) => h("p", {}, text))) : null;
    const main = h("div.results");
    const curve = new Curve();
    fill(this.body, words, main, job.curve.length > 2 && this.bench.domain !== "molecule" ? h("details.more", { ontoggle: () => curve.draw(job.curve) }, h("summary", {}, "Misfit"), curve.node) : null);
    this.report = null;
    const name = job.results.find((file) => file.endsWith(".json"));
    if (name) this.report = await fetch(fileUrl(job, name)).then((answer) => answer.json()).catch(() => null);
    if (this.job !== job && this.job?.state !== job.state) return;
    this.shown = this.bench.result(job, this.report, main);
    if (!main.childNodes.length) {
      if (job.progress.preview) {
        const last = h("div.watch");
        fill(main, last, h("p.soft.centre", {}, "The last it showed."));
        this.bench.preview(job, `/api/jobs/${job.id}/preview`, last);
      }
      else if (!words) fill(main, h("p.soft", {}, "It wrote nothing."));
    }
    this.#facts();
  }

  #side(job, over) {
    this.facts = h("dl.facts");
    const main = job.results.filter((name) => !/-sheet\.png$|\.json$/.test(name));
    const link = (name, label) => h("a.button", { href: fileUrl(job, name, true), download: name }, label);
    const named = [
      ...main.map((name) => link(name, main.length > 1 ? name : name.endsWith(".txt") ? "Labels" : { image: "Picture", audio: "Recording", molecule: "Table" }[this.bench.domain])),
      ...job.results.filter((name) => name.endsWith(".json")).map((name) => link(name, "Report")),
      ...job.results.filter((name) => name.endsWith("-sheet.png")).map((name) => link(name, "Sheet")),
    ];
    const line = asCommand(job.words);
    const log = h("pre.log");
    fill(this.panel,
      named.length ? h("div.downloads", {}, h("h3", {}, "Download"), h("div.buttons", {}, named)) : null,
      this.facts,
      h("div", {}, h("h3", {}, "The same on the command line"), h("div.copyable", {}, h("code.words", {}, wordsOf(line)), h("button.quiet", { onclick: () => copy(line) }, "Copy")),
        Object.values(job.files).length ? h("p.soft.small", {}, "Its files: ", Object.values(job.files).map((name, i) => [i ? ", " : "", h("a", { href: fileUrl(job, name, true), download: name }, name)])) : null),
      over ? h("details.more", { ontoggle: async (event) => {
        if (event.target.open) fill(log, await fetch(`/api/jobs/${job.id}/log`).then((answer) => (answer.ok ? answer.text() : "Nothing was printed.")));
      } }, h("summary", {}, "What the command printed"), log) : null,
      h("p", {}, h("a", { href: `#${this.bench.domain}` }, `New ${{ image: "picture", audio: "recording", molecule: "search" }[this.bench.domain]}`)));
  }

  #facts() {
    const r = this.report;
    if (!r) return;
    const rows = [...(this.bench.facts?.(r) ?? [])];
    if (r.seconds !== undefined) rows.push(["computed in", r.seconds < 90 ? `${r.seconds.toFixed(1)} s` : clock(r.seconds)]);
    if (r.peak_memory_bytes) rows.push(["peak memory", `${(r.peak_memory_bytes / 2 ** 20).toFixed(0)} MiB`]);
    if (r.model) rows.push(["model", r.model]);
    if (r.device) rows.push(["device", r.device]);
    fill(this.facts, rows.map(([name, value]) => [h("dt", {}, sentence(name)), h("dd", {}, value)]).flat());
  }

  #clock() {
    const { job } = this;
    if (job?.started) fill(this.time, clock((job.ended ?? Date.now() / 1000) - job.started));
  }
}
