// Molecules: name properties, look through what was found.
import { h, fill, copy } from "./dom.js";
import { fileUrl } from "./api.js";
import { Bench } from "./bench.js";

const SCORES = ["qed", "logp", "sa"];

export class Molecules extends Bench {
  constructor(page, domain) {
    super(page, domain, "molecule");
  }

  draw() {
    if (!this.stage) return;
    if (this.command.own) return void fill(this.stage, this.input ? this.#loaded() : this.drop);
    const text = this.command.name === "molecule target" ? ["Molecules with given properties", "Small ones of H, C, N, O, F. Name one property or several; a value, a range such as 5..6, or a bound such as >5."] : ["Molecules out of nothing", "Small ones of H, C, N, O, F in three dimensions, as in QM9."];
    fill(this.stage, h("div.drop", {}, h("p.large", {}, text[0]), h("p.soft", {}, text[1])));
  }

  wanting() {
    const { values } = this.form;
    const asked = this.form.command.options.some((option) => option.kind === "quantity" && values[option.key]);
    return this.command.name === "molecule target" && !asked ? "Name a property." : "";
  }

  #loaded() {
    const viewer = new Viewer();
    fetch(this.input.url).then((answer) => answer.text()).then((text) => viewer.show(text, this.input.name.split(".").pop()));
    return h("div.editor", {}, h("div.tools", {}, h("span", {}, this.input.name), h("span.grow"), this.otherFile()), viewer.node);
  }

  /** While it runs, and after it was cancelled: the best molecule of the last round. */
  preview(job, url, place) {
    if (this.live?.place !== place) {
      this.live = { place, viewer: new Viewer() };
      fill(place, this.live.viewer.node, h("p.soft.small.hint", {}, "The molecule of the last round that is nearest to what was asked for."));
    }
    const { viewer } = this.live;
    fetch(url).then((answer) => (answer.ok ? answer.text() : "")).then((text) => text && viewer.show(text, "xyz"));
  }

  forget() {
    this.live = null;
  }

  result(job, report, main) {
    if (!report?.molecules?.length) return null;
    const table = new Table(job, report);
    fill(main, table.node);
    table.begin();
    return null;
  }

  facts(report) {
    const s = report.summary ?? {};
    const rows = [];
    if (s.molecules !== undefined) rows.push(["molecules", String(s.molecules)]);
    if (s.hits !== undefined && Object.keys(report.targets ?? {}).length) rows.push(["hits", String(s.hits)]);
    if (s.sound !== undefined) rows.push(["sound", String(s.sound)]);
    for (const [key, mae] of Object.entries(s.mae_of_sound ?? {})) if (typeof mae === "number") rows.push([`mean miss, ${key}`, `${mae.toFixed(3)} ${report.units?.[key] ?? ""}`]);
    if (report.models) rows.push(["model", report.models.generator ?? report.models.evaluator ?? ""]);
    return rows.filter(([, value]) => value);
  }
}

/** The molecules of a report: sorted by a click on a column, filtered by a word, one of them in three dimensions. */
class Table {
  constructor(job, report) {
    Object.assign(this, { job, report });
    this.rows = report.molecules.map((row, i) => ({ ...row, number: row.number ?? i + 1 }));
    const asked = Object.keys(report.targets ?? {});
    const known = Object.keys(report.units ?? {});
    this.columns = [
      ["number", "#", (r) => r.number],
      asked.length && ["hit", "hit", (r) => (r.hit ? "✓" : "")],
      ["smiles", "SMILES", (r) => r.smiles ?? ""],
      ...(asked.length ? asked : known).map((key) => [key, report.units?.[key] ? `${key}, ${report.units[key].replace("^3", "³")}` : key, (r) => (SCORES.includes(key) ? r.rdkit?.[key] : (r.evaluator ?? r.predicted ?? r)[key])]),
      ...asked.filter((key) => this.rows.some((r) => r.xtb?.on_b3lyp_scale?.[key] !== undefined)).map((key) => [`xtb ${key}`, `${key} by xTB`, (r) => r.xtb?.on_b3lyp_scale?.[key]]),
      this.rows.some((r) => r.xtb) && ["strain", "strain, kcal/mol", (r) => r.xtb?.strain_kcal_per_mol],
      ["sound", "sound", (r) => (r.sound ? "yes" : "no")],
      this.rows.some((r) => r.rank) && ["rank", "rank", (r) => r.rank],
    ].filter(Boolean);
    this.by = this.columns.find(([key]) => key === "rank") ?? this.columns[0];
    this.down = false;
    this.filter = h("input", { type: "text", placeholder: "Filter: a formula, part of a SMILES, hit, sound", "aria-label": "Filter", oninput: () => this.draw() });
    this.head = h("tr");
    this.list = h("tbody");
    this.viewer = new Viewer();
    this.card = h("div.molecule-card");
    this.count = h("span.soft.small");
    this.node = h("div.molecules", {}, h("div.look", {}, this.viewer.node, this.card),
      h("div.table", {}, h("div.filter", {}, this.filter, this.count), h("div.scroll", {}, h("table", {}, h("thead", {}, this.head), this.list))));
  }

  async begin() {
    this.draw();
    const file = this.job.results.find((name) => name.endsWith(".sdf")) ?? this.job.files.input;
    const text = file ? await fetch(fileUrl(this.job, file)).then((answer) => answer.text()) : "";
    this.format = file?.endsWith(".xyz") ? "xyz" : "sdf";
    const blocks = this.format === "sdf" ? text.split(/^\$\$\$\$\r?\n/m).filter((block) => block.trim()) : [text];
    this.blocks = new Map(blocks.map((block, i) => [this.job.files.input && !this.job.command.endsWith("grow") ? i + 1 : Number(block.split("\n")[0].match(/-(\d+)\s*$/)?.[1] ?? i + 1), block]));
    this.pick(this.shown()[0]);
  }

  shown() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (row, word) => (word === "hit" ? row.hit : word === "sound" ? row.sound : `${row.smiles} ${row.formula} ${row.name ?? ""} ${[row.notes ?? []].flat().join(" ")}`.toLowerCase().includes(word));
    const value = this.by[2];
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === y) return a.number - b.number;
      if (x === null || x === undefined) return 1;
      if (y === null || y === undefined) return -1;
      return (x < y ? -1 : 1) * (this.down ? -1 : 1);
    };
    return this.rows.filter((row) => words.every((word) => has(row, word))).sort(order);
  }

  draw() {
    fill(this.head, this.columns.map((column) => h("th", { "aria-sort": column === this.by ? (this.down ? "descending" : "ascending") : null },
      h("button", { onclick: () => {
        this.down = column === this.by ? !this.down : false;
        this.by = column;
        this.draw();
      } }, column[1]))));
    const rows = this.shown();
    fill(this.count, `${rows.length} of ${this.rows.length}`);
    fill(this.list, rows.slice(0, 2000).map((row) => h("tr", { "data-number": String(row.number), tabindex: "0", "aria-selected": String(row === this.picked), onclick: () => this.pick(row), onkeydown: (event) => this.#key(event, row) },
      this.columns.map(([key, , value]) => h("td", { class: key === "smiles" ? "smiles" : "" }, format(value(row)))))));
  }

  #key(event, row) {
    if (event.key === "Enter" || event.key === " ") this.pick(row);
    else if (event.key === "ArrowDown") event.currentTarget.nextElementSibling?.focus();
    else if (event.key === "ArrowUp") event.currentTarget.previousElementSibling?.focus();
    else return;
    event.preventDefault();
  }

  pick(row) {
    this.picked = row;
    for (const node of this.list.children) node.setAttribute("aria-selected", String(row && node.dataset.number === String(row.number)));
    if (!row) return void fill(this.card);
    const block = this.blocks?.get(row.number);
    this.viewer.show(block ?? "", this.format);
    const sdf = block && this.format === "sdf" ? URL.createObjectURL(new Blob([`${block}$$$$\n`], { type: "chemical/x-mdl-sdfile" })) : null;
    fill(this.card, h("div.copyable", {}, h("code.words", {}, row.smiles ?? "no structure"), row.smiles ? h("button.quiet", { onclick: () => copy(row.smiles) }, "Copy") : null),
      h("p.soft.small", {}, [row.formula, row.found_by && `by ${row.found_by}`, ...[row.notes ?? []].flat(), block ? "" : "not among the written molecules"].filter(Boolean).join(" · ")),
      sdf ? h("a.button", { href: sdf, download: `${(row.smiles && row.formula) || "molecule"}-${row.number}.sdf` }, "Save SDF") : null);
  }
}

const format = (value) => (typeof value === "number" ? (Number.isInteger(value) ? String(value) : value.toFixed(3)) : value ?? "–");

/** A molecule that can be turned. */
class Viewer {
  constructor() {
    this.place = h("div.three", { role: "img", "aria-label": "The molecule in three dimensions: drag turns, the wheel zooms" });
    this.none = h("p.none.soft", { hidden: true }, "Its structure was not written: it is not sound.");
    this.node = h("div.viewer", {}, this.place, this.none);
  }

  async show(text, format) {
    const asked = (this.asked = {});
    this.none.hidden = Boolean(text);
    const library = await load3d();
    if (asked !== this.asked || !this.place.isConnected) return;
    this.view ??= library.createViewer(this.place, { backgroundAlpha: 0, antialias: true });
    this.view.removeAllModels();
    if (text) {
      this.view.addModel(text, format);
      this.view.setStyle({}, { stick: { radius: 0.13 }, sphere: { scale: 0.25 } });
    }
    this.view.zoomTo();
    this.view.render();
  }
}

let library;

/** 3Dmol, when it is wanted first: a script of the old kind, which puts itself on the window. */
function load3d() {
  library ??= new Promise((done, fail) => {
    const script = h("script", { src: "/vendor/3dmol/3Dmol-min.js", onload: () => done(window.$3Dmol), onerror: fail });
    document.head.append(script);
  });
  return library;
}
