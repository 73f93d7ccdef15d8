// A command's options as a form. What there is, its ranges, its choices and its help come from the server.
import { h, fill, sentence } from "./dom.js";

const NAMES = {
  sa: "synthetic accessibility", qed: "drug-likeness QED", logp: "logP", mu: "dipole moment", cv: "heat capacity Cv",
  alpha: "polarisability", gap: "HOMO-LUMO gap", homo: "HOMO", lumo: "LUMO", by: "length",
};
const FILES = { picture: "image/png,image/jpeg,image/webp,image/bmp,image/tiff,.tif,.tiff", recording: ".wav,.flac,.ogg,.aif,.aiff", molecule: ".sdf,.xyz,.mol", labels: ".txt" };

export const accept = (kind) => FILES[kind];

/** The name of an option for people. */
export const title = (option) => option.hint?.label || NAMES[option.key] || option.key.replaceAll("_", " ");

/** Controls for the options of a command. `change` is called when a value changes. */
export class Form {
  constructor(command, page, { hidden = [], change = () => {}, send }) {
    Object.assign(this, { command, page, change, send });
    this.controls = new Map();
    const shown = command.options.filter((option) => !hidden.includes(option.key));
    for (const option of shown) {
      if (option.key === "device" && page.devices.length < 2) continue;
      this.controls.set(option.key, this.#control(option));
    }
    this.node = h("div.form", {}, this.#lay(shown));
  }

  /** The values that are given, as the server takes them. */
  get values() {
    const found = {};
    for (const [key, control] of this.controls) {
      const value = this.#chosen(key) ? control.read() : null;
      if (value !== null && value !== "" && value !== false) found[key] = value;
    }
    return found;
  }

  /** The files that are given: id by option. */
  get files() {
    const found = {};
    for (const [key, control] of this.controls) if (control.upload && this.#chosen(key)) found[key] = control.upload.id;
    return found;
  }

  get fileNames() {
    const found = {};
    for (const [key, control] of this.controls) if (control.upload && this.#chosen(key)) found[key] = control.upload.name;
    return found;
  }

  set(values) {
    for (const [key, control] of this.controls) {
      if (this.picker && this.command.one_of.includes(key) && key in values) this.#choose(key);
      control.write?.(values[key] ?? null);
    }
  }

  #chosen(key) {
    return !this.picker || !this.command.one_of.includes(key) || key === this.which;
  }

  #lay(options) {
    const rows = [], more = [];
    const one = this.command.one_of.filter((key) => this.controls.has(key));
    if (one.length > 1) {
      this.picker = h("select", { onchange: () => (this.#choose(this.picker.value), this.change()) },
        one.map((key) => h("option", { value: key }, sentence(key))));
      rows.push(row("known by", this.picker));
    }
    let group = null;
    for (const option of options) {
      const control = this.controls.get(option.key);
      if (!control) continue;
      const node = control.node;
      node.dataset.option = option.key;
      if (!option.front && option.group !== group) more.push(h("h3", {}, (group = option.group)));
      (option.front ? rows : more).push(node);
    }
    if (this.picker) this.#choose(one[0]);
    if (more.length) rows.push(h("details.more", {}, h("summary", {}, "More settings"), more));
    return rows;
  }

  #choose(key) {
    this.which = key;
    this.picker.value = key;
    for (const other of this.command.one_of) {
      const control = this.controls.get(other);
      if (control) control.node.hidden = other !== key;
    }
  }

  #control(option) {
    const make = { whole: this.#number, number: this.#number, numbers: this.#numbers, choice: this.#choice,
      text: this.#text, switch: this.#switch, file: this.#file, list: this.#list, quantity: this.#quantity };
    if (option.key === "device") option = { ...option, kind: "choice", choices: this.page.devices };
    const control = make[option.kind].call(this, option);
    control.write?.(null);
    return control;
  }

  #number(option) {
    const hint = option.hint, suffix = hint?.suffix ?? "";
    const input = h("input", { type: "text", inputmode: "decimal", size: 6, placeholder: option.default ?? "auto",
      "aria-label": title(option), oninput: () => (follow(), this.change()) });
    const slider = hint && h("input", { type: "range", min: String(hint.low), max: String(hint.high), step: String(hint.step),
      "aria-label": `${title(option)}, slider`, oninput: () => ((input.value = slider.value), this.change()) });
    const follow = () => slider && (slider.value = input.value === "" ? (option.default ?? hint.low) : parseFloat(input.value));
    return {
      node: row(title(option), h("span.pair", {}, slider, input), option.help),
      read: () => (input.value.trim() === "" ? null : input.value.trim() + (/^[\d.]+$/.test(input.value.trim()) ? suffix : "")),
      write: (value) => {
        const text = String(value ?? option.start ?? "");
        input.value = suffix && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
        follow();
      },
    };
  }

  #numbers(option) {
    const inputs = option.choices.map((name) => h("input", { type: "text", inputmode: "decimal", size: 5,
      placeholder: name.toLowerCase(), "aria-label": `${title(option)}, ${name.toLowerCase()}`, oninput: () => this.change() }));
    return {
      node: row(title(option), h("span.pair", {}, inputs), option.help),
      read: () => (inputs.every((input) => input.value.trim() === "") ? null : inputs.map((input) => input.value.trim()).join(",")),
      write: (value) => String(value ?? option.start ?? "").split(",").forEach((part, i) => inputs[i] && (inputs[i].value = part)),
    };
  }

  #choice(option) {
    const words = option.default === null ? ["", ...option.choices] : option.choices;
    const select = h("select", { "aria-label": title(option), onchange: () => this.change() },
      words.map((word) => h("option", { value: word }, word || "auto")));
    return {
      node: row(title(option), select, option.help),
      read: () => (select.value === String(option.default ?? "") ? null : select.value),
      write: (value) => (select.value = value ?? option.default ?? ""),
    };
  }

  #text(option) {
    const input = h("input", { type: "text", maxlength: "400", placeholder: option.default ?? "", "aria-label": title(option), oninput: () => this.change() });
    return {
      node: row(title(option), input, option.help),
      read: () => input.value.trim() || null,
      write: (value) => (input.value = value ?? option.start ?? ""),
    };
  }

  #switch(option) {
    const box = h("input", { type: "checkbox", onchange: () => this.change() });
    return {
      node: row(title(option), box, option.help),
      read: () => box.checked || null,
      write: (value) => (box.checked = Boolean(value)),
    };
  }

  #list(option) {
    const input = h("input", { type: "text", placeholder: option.key === "reward" ? "symmetry; 2 * brightness" : "", "aria-label": title(option), oninput: () => this.change() });
    return {
      node: row(title(option), input, option.help),
      read: () => {
        const parts = input.value.split(";").map((part) => part.trim()).filter(Boolean);
        return parts.length ? parts : null;
      },
      write: (value) => (input.value = (value ?? []).join("; ")),
    };
  }

  #quantity(option) {
    const input = h("input", { type: "text", size: 9, placeholder: "any", "aria-label": title(option), oninput: () => this.change() });
    const unit = option.choices.length ? h("select", { "aria-label": `${title(option)}, unit`, onchange: () => this.change() },
      option.choices.map((word) => h("option", { value: word }, word.replace("^3", "³")))) : null;
    return {
      node: row(title(option), h("span.pair.quantity", {}, input, unit), `${option.help} A value, 5..6, >5 or <5.`),
      read: () => (input.value.trim() ? input.value.trim() + (unit ? unit.value : "") : null),
      write: (value) => {
        let text = String(value ?? option.start ?? "");
        const own = option.choices.find((word) => text.endsWith(word) && !/[A-Za-z]$/.test(text.slice(0, -word.length)));
        if (own) [unit.value, text] = [own, text.slice(0, -own.length)];
        input.value = text;
      },
    };
  }

  #file(option) {
    const control = { upload: null, read: () => null };
    const input = h("input.off-screen", { type: "file", accept: accept(option.file), "aria-label": title(option), onchange: async () => {
      if (input.files[0]) control.put(await this.send(input.files[0], option.file));
    } });
    const name = h("span.file-name");
    const clear = h("button.quiet", { type: "button", onclick: () => control.put(null), "aria-label": `No ${title(option)}` }, "×");
    control.put = (upload) => {
      control.upload = upload;
      fill(name, upload?.name ?? "");
      clear.hidden = !upload;
      input.value = "";
      this.change();
    };
    clear.hidden = true;
    control.node = row(title(option), h("span.pair", {}, h("label.button", {}, "Choose", input), name, clear), option.help);
    return control;
  }
}

/** A labelled control; its help is there for who asks. */
function row(name, control, help = "") {
  const tip = help && h("button.tip", { type: "button", "aria-label": `About ${name}`, "aria-expanded": "false", onclick: () => {
    text.hidden = !text.hidden;
    tip.setAttribute("aria-expanded", String(!text.hidden));
  } }, "?");
  const text = help ? h("p.help", { hidden: true }, help) : null;
  return h("div.row", {}, h("span.name", {}, sentence(name), tip || null), control, text);
}
