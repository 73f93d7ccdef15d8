// Recordings: mark what is lost, look and listen before and after.
import { h, fill, clock } from "./dom.js";
import { fileUrl, request } from "./api.js";
import { Bench } from "./bench.js";
import { Player } from "./player.js";
import { tell } from "./tell.js";

const isRecording = (name) => /\.(wav|flac|ogg|aiff?)$/i.test(name);
const MOST_REGIONS = 80;
const span = ([start, end]) => `${start.toFixed(6)}-${end.toFixed(6)}`;

export class Recordings extends Bench {
  constructor(page, domain) {
    super(page, domain, "recording");
  }

  hidden() {
    return ["gap", "profile"];
  }

  get marks() {
    return ["audio inpaint", "audio denoise"].includes(this.command.name);
  }

  values() {
    const regions = this.player?.regions ?? [];
    if (this.command.name === "audio inpaint" && regions.length) return { ...this.form.values, gap: regions.map(span) };
    if (this.command.name === "audio denoise" && regions.length) return { ...this.form.values, profile: span(regions[0]) };
    return this.form.values;
  }

  wanting() {
    const given = this.player?.regions.length || this.form.files.labels || this.form.files.mask;
    return this.command.name === "audio inpaint" && this.input && !given ? "Drag over the waveform where something is lost." : "";
  }

  draw() {
    if (!this.stage) return;
    if (!this.command.own) return void fill(this.stage, h("div.drop", {}, h("p.large", {}, "Music out of nothing"), h("p.soft", {}, "music16 draws short pieces at 16 kHz.")));
    if (!this.input) return void fill(this.stage, this.drop);
    if (this.shown !== this.input.id) {
      this.shown = this.input.id;
      this.player?.destroy();
      this.player = new Player({ "": this.input.url }, { marks: true });
      this.player.addEventListener("regions", () => this.changed());
      this.player.addEventListener("broken", () => fill(this.stage, h("p.wrong", {}, "The browser cannot play this recording."), this.drop));
      this.clearing = h("button", { onclick: () => this.player.clear() }, "No regions");
      this.player.bar.append(this.clearing, this.otherFile());
      this.hint = h("p.soft.small.hint");
      this.player.node.append(this.hint);
    }
    fill(this.hint, { "audio inpaint": "Drag over the waveform to mark a gap; drag its ends to change it; Delete removes it.",
      "audio denoise": "Drag over a part with noise alone, if there is one: the noise may then have any colour." }[this.command.name] ?? "Space plays, L repeats the region.");
    fill(this.stage, this.player.node);
  }

  enter() {
    const options = this.listen();
    addEventListener("keydown", (event) => this.player?.node.isConnected && this.player.key(event), options);
    this.changed();
  }

  leave() {
    super.leave();
    this.player?.active.surfer.pause();
  }

  async restore(job) {
    const spans = [...(job.values.gap ?? []), ...(job.values.profile ? [job.values.profile] : [])];
    if (this.player && spans.length) await this.#mark(spans.map((text) => text.split("-").map(Number)).filter((pair) => pair.every(Number.isFinite)));
  }

  #mark(spans) {
    return new Promise((done) => {
      const put = () => {
        this.player.clear();
        spans.forEach(([start, end]) => this.player.mark(start, end));
        this.changed();
        done();
      };
      this.player.seconds ? put() : this.player.addEventListener("ready", put, { once: true });
    });
  }

  /** While it runs, and after it was cancelled: what the flow has so far, to see and to hear; a new sample waits for a pause. */
  preview(job, url, place) {
    if (this.live?.place !== place) {
      this.live?.player.destroy();
      this.live = { place, player: new Player({ "": url }) };
      fill(place, this.live.player.node, h("p.soft.small.hint", {}, "The model's sample of the stretch at work, at its own rate and loudness."));
    } else this.live.player.replace(url);
  }

  forget() {
    this.live?.player.destroy();
    this.live = null;
  }

  result(job, report, main) {
    const before = job.files.input && fileUrl(job, job.files.input);
    const sounds = job.results.filter(isRecording);
    if (job.command === "audio check") return report && this.#findings(job, report, main, before);
    if (!sounds.length) return null;
    const urls = before ? { before, after: fileUrl(job, sounds[0]) } : Object.fromEntries(sounds.map((name) => [name, fileUrl(job, name)]));
    const player = new Player(urls);
    player.addEventListener("ready", () => this.#gaps(report).forEach(([a, b]) => player.mark(a, b)), { once: true });
    if (before) player.bar.append(h("button.quiet", { onclick: () => this.goOn(job, sounds[0]) }, "Use as input"));
    fill(main, player.node, h("p.soft.small.hint", {}, before ? "Space plays, X changes between before and after, L repeats a region that was clicked." : "Space plays, X changes."));
    return this.#held(player);
  }

  /** Keys while a result is seen; ended when it is left. */
  #held(player) {
    const ears = new AbortController();
    addEventListener("keydown", (event) => player.key(event), { signal: ears.signal });
    return { leave: () => (ears.abort(), player.destroy()) };
  }

  #gaps(report) {
    return (report?.stretches ?? report?.samples ?? []).flatMap((row) => row.gaps ?? []).slice(0, 500);
  }

  #findings(job, report, main, before) {
    const { findings } = report;
    const player = new Player({ "": before });
    player.addEventListener("ready", () => findings.slice(0, 500).forEach((f) => player.mark(f.start, f.stop, findings.length < 12 ? f.kind : "")), { once: true });
    const kinds = new Set(report.commands.map((line) => line.split(" ")[2]));
    const go = (verb, label) => kinds.has(verb) && h("button.primary", { onclick: () => this.#mend(job, report, verb) }, label);
    fill(main, player.node,
      findings.length ? h("div.buttons.centre", {}, go("inpaint", "Fill the gaps"), go("declip", "Recover the peaks"), go("denoise", "Remove the hum")) : h("p.large.centre", {}, "No damage was found."),
      findings.length ? h("table.findings", {}, h("thead", {}, h("tr", {}, ["At", "Long", "What"].map((name) => h("th", {}, name)))), h("tbody", {}, findings.slice(0, 200).map((f) => h("tr", {},
        h("td", {}, `${clock(f.start)}${(f.start % 1).toFixed(3).slice(1)}`), h("td", {}, f.stop - f.start < 1 ? `${((f.stop - f.start) * 1e3).toFixed(2)} ms` : `${(f.stop - f.start).toFixed(2)} s`), h("td", {}, `${f.kind} ${f.detail}`))))) : null,
      findings.length > 200 ? h("p.soft", {}, `and ${findings.length - 200} more in the report`) : null);
    return this.#held(player);
  }

  async #mend(job, report, verb) {
    const gaps = report.findings.filter((f) => !/^(clipping|hum)/.test(f.kind)).map((f) => [f.start, f.stop]);
    await this.again({ ...job, command: `audio ${verb}`, values: {} });
    this.player?.clear();
    const profile = report.commands.find((line) => line.includes("--profile"))?.match(/--profile ([\d.]+)-([\d.]+)/);
    if (verb === "denoise" && profile) return this.#mark([[Number(profile[1]), Number(profile[2])]]);
    if (verb === "inpaint" && gaps.length <= MOST_REGIONS) return this.#mark(gaps);
    const labels = await tell(request("POST", `/api/jobs/${job.id}/files/${encodeURIComponent(report.labels)}/take?kind=labels`));
    if (labels) this.form.controls.get("labels").put(labels);
  }

  facts(report) {
    const rows = (report.stretches ?? []).length ? [["stretches", String(report.stretches.length)]] : [];
    if (report.findings) rows.push(["found", String(report.findings.length)]);
    const filled = [...new Set((report.stretches ?? []).flatMap((row) => row.filled_by ?? []))];
    if (filled.length) rows.push(["filled by", filled.join(", ")]);
    return rows;
  }
}
