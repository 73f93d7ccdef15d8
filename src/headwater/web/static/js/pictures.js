// Pictures: paint what is lost, look at what came back.
import "../vendor/img-comparison-slider.js";
import { h, fill, sentence } from "./dom.js";
import { fileUrl } from "./api.js";
import { Bench } from "./bench.js";
import { MaskEditor } from "./mask.js";
import { spread } from "./spread.js";

/** The word of a picture that says something of another one, as "std" in a-std.png beside a.png or a-0.png; else "". */
function mapOf(name, every) {
  const [, stem, word] = name.match(/^(.+)-([a-z]\w*)\.\w+$/i) ?? [];
  return stem && every.some((other) => other.replace(/(-\d+)?\.\w+$/, "") === stem) ? word : "";
}

/** What the report says of a picture beside the result, as of the std of a posterior; else its word. */
function captionOf(report, name, word) {
  const row = report?.samples?.find((sample) => sample.file === name), meaning = report?.definitions?.[row?.what];
  const white = row?.white === undefined ? "" : `. Here white is ${row.white.toPrecision(2)}`;
  return `${sentence(meaning ?? word)}${white}`;
}

const isPicture = (name) => /\.(png|jpe?g|webp|bmp|tiff?)$/i.test(name) && !name.endsWith("-sheet.png");

export class Pictures extends Bench {
  constructor(page, domain) {
    super(page, domain, "picture");
  }

  hidden() {
    return this.painted ? [this.painted] : [];
  }

  /** The option whose file is painted, if the command has one. */
  get painted() {
    return { "image inpaint": "mask", "image edit": "strength" }[this.command.name];
  }

  get paints() {
    return this.painted !== undefined;
  }

  async draw() {
    if (!this.stage) return;
    if (!this.command.own) return void fill(this.stage, h("div.drop", {}, h("p.large", {}, "Pictures out of nothing"), h("p.soft", {}, "photo64 draws photographs of 64 x 64 pixels; with a prompt pictograms draws simple things.")));
    if (!this.input) return void fill(this.stage, this.drop);
    if (this.editor?.id !== this.input.id) {
      const image = await load(this.input.url).catch(() => null);
      if (!image) return void fill(this.stage, h("p.wrong", {}, "The browser cannot show this picture."), this.drop);
      this.editor = new MaskEditor(image, { change: () => this.changed() });
      this.editor.id = this.input.id;
      this.editor.tools.append(this.otherFile());
    }
    this.editor.wanted = this.painted === "strength" ? "Paint what may change." : "Paint what is lost.";
    this.editor.paints = this.paints;
    fill(this.stage, this.editor.node);
    this.editor.fit();
  }

  changed() {
    if (this.editor) this.editor.grow = this.paints ? Number(this.form.values.grow ?? 0) : 0;
    super.changed();
  }

  ownFiles() {
    return this.paints && this.editor && !this.editor.empty ? { [this.painted]: this.#maskName } : {};
  }

  wanting() {
    const hole = !this.editor || !this.editor.empty || this.editor.transparent, { prompt, label, reward } = this.form.values;
    if (this.painted === "strength") return this.input && !(prompt || label || reward) ? "Give a label, a prompt or a reward." : "";
    return this.paints && this.input && !hole ? "Paint what is lost first." : "";
  }

  get #maskName() {
    return `${this.input.name.replace(/\.\w+$/, "")}-mask.png`;
  }

  async ownBlobs() {
    if (!this.paints || !this.editor || this.editor.empty) return {};
    return { [this.painted]: [await this.editor.blob(), "picture", this.#maskName] };
  }

  async restore(job) {
    const map = job.files.mask ?? job.files.strength;
    if (map && this.editor) this.editor.load(await load(fileUrl(job, map)));
  }

  enter() {
    const options = this.listen();
    addEventListener("keydown", (event) => this.paints && this.editor?.node.isConnected && this.editor.key(event), options);
    this.editor?.fit();
    this.changed();
  }

  /** While it runs: the picture as it came, until there is a sample. */
  waiting(job) {
    return job.files.input ? h("img.live.before", { src: fileUrl(job, job.files.input), alt: "As it came" }) : null;
  }

  /** While it runs, and after it was cancelled: the sample so far. */
  preview(job, url, place) {
    const picture = place.querySelector("img:not(.before)") ?? h("img.live", { alt: "The sample so far" });
    picture.src = url;
    fill(place, picture);
  }

  result(job, report, main) {
    const every = job.results.filter(isPicture);
    const pictures = every.filter((name) => !mapOf(name, every)), maps = every.filter((name) => mapOf(name, every));
    if (!pictures.length) return null;
    if (!job.files.input) {
      fill(main, h(pictures.length > 4 ? "div.gallery" : "div.gallery.few", {}, pictures.map((name) => h("a", { href: fileUrl(job, name), target: "_blank", rel: "noopener" }, h("img", { src: fileUrl(job, name), alt: name, loading: "lazy" })))));
      return null;
    }
    const before = fileUrl(job, job.files.input);
    const place = h("div.compare");
    const show = (name) => {
      const after = h("img", { slot: "second", src: fileUrl(job, name), alt: "After" });
      const slider = h("img-comparison-slider", { tabindex: "0", "aria-label": "Before and after: move with the arrow keys" }, h("img", { slot: "first", src: before, alt: "Before" }), after);
      after.addEventListener("load", () => slider.isConnected && this.#size(slider, after)); // another one may be shown by now
      fill(place, slider, h("div.captions", {}, h("span", {}, "before"), h("span", {}, "after"),
        h("button.quiet", { onclick: () => this.goOn(job, name) }, "Use as input")));
      for (const thumb of thumbs.children) thumb.setAttribute("aria-pressed", String(thumb.title === name));
    };
    const thumbs = h("div.thumbs", {}, pictures.map((name) => h("button", { title: name, onclick: () => show(name) }, h("img", { src: fileUrl(job, name), alt: name }))));
    if (pictures.length > 1) {
      const map = h("button", { title: "spread", "aria-label": "Where the variants differ", onclick: async () => {
        fill(place, h("figure", {}, ...(await spread(pictures.map((name) => fileUrl(job, name))))));
        for (const thumb of thumbs.children) thumb.setAttribute("aria-pressed", String(thumb === map));
      } }, "std");
      thumbs.append(map);
    }
    for (const name of maps) {
      const word = mapOf(name, every);
      const map = h("button", { title: name, "aria-label": word, onclick: () => {
        fill(place, h("figure", {}, h("img.live", { src: fileUrl(job, name), alt: word }), h("figcaption", {}, captionOf(report, name, word))));
        for (const thumb of thumbs.children) thumb.setAttribute("aria-pressed", String(thumb === map));
      } }, word);
      thumbs.append(map);
    }
    fill(main, place, thumbs.children.length > 1 ? thumbs : null);
    show(pictures[0]);
    return null;
  }

  /** As large as there is room, in whole multiples of small pictures. */
  #size(slider, image) {
    const room = slider.parentElement.clientWidth, high = Math.max(240, innerHeight * 0.66);
    const scale = Math.min(room / image.naturalWidth, high / image.naturalHeight);
    const width = image.naturalWidth * (scale > 3 ? Math.min(Math.floor(scale), 12) : scale);
    slider.style.width = `${width}px`;
    slider.classList.toggle("small", scale > 1.5);
  }

  facts(report) {
    const first = report.samples?.[0];
    if (!first) return [];
    const rows = [["status", first.sentence ?? ""]];
    if (first.misfit !== undefined && first.misfit !== null) rows.push(["misfit", `${first.misfit.toFixed(2)}, 1 = noise of ${report.misfit_unit.toPrecision(2)}`]);
    if (report.posterior?.verdict) rows.push(["posterior", report.posterior.verdict]);
    if (first.evaluations) rows.push(["evaluations", String(first.evaluations)]);
    if (first.gradients) rows.push(["gradients", String(first.gradients)]);
    for (const [key, unit] of [["psnr", " dB"], ["ssim", ""], ["perceptual", ""]]) if (first[key] !== undefined && first[key] !== null) rows.push([key.toUpperCase(), `${first[key].toFixed(2)}${unit}`]);
    return rows.filter(([, value]) => value);
  }
}

function load(url) {
  return new Promise((done, fail) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = fail;
    image.src = url;
  });
}
