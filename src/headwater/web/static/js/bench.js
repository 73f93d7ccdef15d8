// What the three benches share: a command, its form, its file, the command line, and Run.
import { h, fill, asCommand, copy, debounce, sentence, wordsOf } from "./dom.js";
import { Refusal, request, send, uploadUrl } from "./api.js";
import { accept, Form } from "./form.js";
import { tell } from "./tell.js";

export class Bench {
  /** `kind` is that of the files it takes. */
  constructor(page, domain, kind) {
    Object.assign(this, { page, domain, kind });
    this.commands = page.offer.commands.filter((command) => command.name.startsWith(`${domain} `));
    this.kept = {};
    this.input = null;
    this.stage = h("div.bench", {});
    this.command = this.commands[0];
    this.words = h("code.words");
    this.wrong = h("p.wrong", { role: "alert", hidden: true });
    this.wanted = h("p.soft.small.centre");
    this.go = h("button.primary.run", { disabled: true, onclick: () => this.run() }, "Run");
    this.check = debounce(() => this.#check(), 150);
    this.tasks = h("div.tasks", { role: "radiogroup", "aria-label": "Task" }, this.commands.map((command) => this.#task(command)));
    this.about = h("p.about");
    this.place = h("div.place", {});
    this.panel = h("div.settings", {}, this.tasks, this.about, this.place,
      h("div.foot", {}, this.wrong, this.go, this.wanted,
        h("details.as-command", { open: true }, h("summary", {}, "The same on the command line"),
          h("div.copyable", {}, this.words, h("button.quiet", { onclick: () => copy(this.words.textContent), title: "Copy" }, "Copy")))));
    this.drop = this.#dropZone();
    this.choose(this.command.name);
  }

  #task(command) {
    return h("button.task", { role: "radio", "data-command": command.name, onclick: () => this.choose(command.name) }, sentence(command.name.split(" ")[1]));
  }

  choose(name, values = null) {
    if (this.form) this.kept[this.command.name] = this.form.values;
    this.command = this.commands.find((command) => command.name === name);
    for (const task of this.tasks.children) task.setAttribute("aria-checked", String(task.dataset.command === name));
    fill(this.about, this.command.help);
    this.form = new Form(this.command, this.page.offer, {
      hidden: this.hidden?.() ?? [], change: () => this.changed(), send: (file, kind) => tell(send(file, kind)) });
    if (values ?? this.kept[name]) this.form.set(values ?? this.kept[name]);
    fill(this.place, this.form.node);
    this.draw();
    this.changed();
  }

  /** Called whenever something changes that the command line tells. */
  changed() {
    this.check();
  }

  /** Files beside the input that the bench makes itself, such as a painted mask: {option: name}. */
  ownFiles() {
    return {};
  }

  /** The same as blobs, for sending. */
  async ownBlobs() {
    return {};
  }

  /** What is missing before it can run, as a sentence. */
  wanting() {
    return "";
  }

  values() {
    return this.form.values;
  }

  /** While a job runs: what is seen until there is a sample. */
  waiting(job) {
    return null;
  }

  /** Let go of what `preview` shows. */
  forget() {}

  async #check() {
    const files = { ...this.form.fileNames, ...this.ownFiles() };
    if (this.command.own) files.input = this.input?.name ?? `${this.command.own}${{ picture: ".png", recording: ".wav", molecule: ".sdf" }[this.command.own]}`;
    const asked = (this.asked = {});
    try {
      const { words, what, cure } = await request("POST", "/api/words", { command: this.command.name, values: this.values(), files });
      if (asked === this.asked) this.#say(words && asCommand(words), words ? "" : `${what} ${cure}`, this.wanting());
    } catch (error) {
      if (asked === this.asked) this.#say(null, error.message);
    }
  }

  #say(line, wrong, wanted = "") {
    if (line) fill(this.words, wordsOf(line));
    fill(this.wanted, this.input || !this.command.own ? wanted : "");
    fill(this.wrong, wrong);
    this.wrong.hidden = !wrong;
    this.go.disabled = Boolean(wrong || wanted) || (Boolean(this.command.own) && !this.input);
  }

  async run() {
    this.go.disabled = true;
    try {
      const files = this.form.files;
      if (this.command.own) files.input = this.input.id;
      for (const [key, [blob, kind, name]] of Object.entries(await this.ownBlobs())) files[key] = (await send(blob, kind, name)).id;
      const job = await request("POST", "/api/jobs", { command: this.command.name, values: this.values(), files });
      this.page.jobs.all.set(job.id, this.page.jobs.all.get(job.id) ?? job);
      this.page.queue.draw();
      location.hash = `job-${job.id}`;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#say(null, error.message);
      this.go.disabled = false;
    }
  }

  /** Take in a file. */
  async open(file) {
    const upload = await tell(send(file, this.kind));
    if (upload) await this.take(upload);
  }

  async take(upload, url = uploadUrl(upload)) {
    this.input = { ...upload, url };
    await this.draw();
    this.changed();
  }

  /** Take in what a job was asked, to ask again. */
  async again(job) {
    if (job.files.input) {
      const upload = await tell(request("POST", `/api/jobs/${job.id}/files/${encodeURIComponent(job.files.input)}/take?kind=${this.kind}`));
      if (!upload) return;
      this.input = null;
      this.choose(job.command, job.values);
      await this.take(upload);
    } else this.choose(job.command, job.values);
    await this.restore?.(job);
    location.hash = this.domain;
  }

  /** Begin with a result of a job. */
  async goOn(job, name) {
    const upload = await tell(request("POST", `/api/jobs/${job.id}/files/${encodeURIComponent(name)}/take?kind=${this.kind}`));
    if (!upload) return;
    await this.take(upload);
    location.hash = this.domain;
  }

  #dropZone() {
    const input = h("input.off-screen", { type: "file", accept: accept(this.kind), "aria-label": `Choose a ${this.kind}`, onchange: () => input.files[0] && this.open(input.files[0]) });
    const examples = this.page.offer.examples.filter((example) => example.kind === this.kind);
    const paste = this.kind === "picture" ? ", paste one" : "";
    return h("div.drop", {}, h("p.large", {}, `Drop a ${this.kind} here${paste}, or`),
      h("label.button.primary", {}, "choose a file", input),
      examples.length ? h("p.soft", {}, "No file at hand? ", examples.map((example, i) => [i ? ", " : "", h("button.link", {
        onclick: async () => {
          const upload = await tell(request("POST", `/api/examples/${example.name}`));
          if (upload) this.take(upload);
        } }, example.name)])) : null);
  }

  /** A button to take another file. */
  otherFile() {
    const input = h("input.off-screen", { type: "file", accept: accept(this.kind), "aria-label": `Another ${this.kind}`, onchange: () => input.files[0] && this.open(input.files[0]) });
    return h("label.button", {}, "Other file", input);
  }

  listen() {
    this.leave();
    this.ears = new AbortController();
    const options = { signal: this.ears.signal };
    addEventListener("drop", (event) => event.dataTransfer.files[0] && this.open(event.dataTransfer.files[0]), options);
    addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])][0];
      if (file) this.open(file);
    }, options);
    return options;
  }

  enter() {
    this.listen();
    this.changed();
  }

  leave() {
    this.ears?.abort();
  }
}
