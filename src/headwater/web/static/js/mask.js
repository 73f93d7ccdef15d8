// A mask over a picture, painted with mouse, pen, finger or keys. It is kept as strokes, so that every step can be undone.
import { h, fill } from "./dom.js";
import { tell } from "./tell.js";

const SMALLEST = 1, LARGEST = 400;
const COLOR = "rgb(230, 0, 190)"; // no photograph has much of it, and its stripes are seen on all

export class MaskEditor {
  constructor(image, { change }) {
    this.image = image;
    this.change = change;
    [this.width, this.height] = [image.naturalWidth, image.naturalHeight];
    this.mask = h("canvas", { width: this.width, height: this.height });
    this.transparent = hasHole(image);
    this.wanted = "Paint what is lost.";
    this.strokes = [];
    this.undone = [];
    this.tool = "brush";
    this.size = Math.max(4, Math.round(Math.max(this.width, this.height) / 16));
    this._grow = 0;
    this._paints = true;
    this.pointers = new Map();
    this.cursor = null;
    this.canvas = h("canvas.paint", { tabindex: "0", role: "application",
      "aria-label": "The picture. Paint a mask: arrow keys move the brush, the space bar paints." });
    this.frame = h("div.frame", {}, this.canvas);
    this.tools = this.#tools();
    this.hint = h("p.soft.small.hint");
    this.node = h("div.editor", {}, this.tools, this.frame, this.hint);
    this.#listen();
    new ResizeObserver(() => this.fit()).observe(this.frame);
  }

  get empty() {
    return this.strokes.length === 0;
  }

  set grow(pixels) {
    if (pixels === this._grow) return;
    this._grow = Number.isFinite(pixels) ? Math.min(pixels, 1000) : 0;
    this.draw();
  }

  set paints(paints) {
    this._paints = paints;
    for (const node of this.tools.querySelectorAll(".painting")) node.hidden = !paints;
    fill(this.hint, paints ? (matchMedia("(pointer: coarse)").matches ? `${this.wanted} Two fingers zoom.` : `${this.wanted} The wheel zooms; [ and ] change the brush.`) : `${this.width} x ${this.height} pixels. The wheel or two fingers zoom, dragging moves.`);
    this.canvas.classList.toggle("moves", !paints);
    this.draw();
  }

  #tools() {
    const button = (label, title, run, more = "") => h(`button.painting${more}`, { title, "aria-label": title, onclick: run }, label);
    this.brush = button("Brush", "Brush (B)", () => this.pick("brush"), ".tool");
    this.eraser = button("Eraser", "Eraser (E)", () => this.pick("eraser"), ".tool");
    this.slider = h("input", { type: "range", min: "0", max: "100", "aria-label": "Size of the brush ([ and ])", title: "Size ([ and ])",
      oninput: () => this.resize(SMALLEST * (LARGEST / SMALLEST) ** (this.slider.value / 100)) });
    this.back = button("Undo", "Undo (Ctrl+Z)", () => this.undo());
    this.forth = button("Redo", "Redo (Ctrl+Y)", () => this.redo());
    const upload = h("input.off-screen", { type: "file", accept: "image/*", "aria-label": "Upload a mask", onchange: async () => {
      if (upload.files[0]) await tell(this.open(upload.files[0]));
      upload.value = "";
    } });
    const bar = h("div.tools", { role: "toolbar", "aria-label": "Mask" }, h("span.painting.joined", {}, this.brush, this.eraser), h("span.painting.size", {}, this.slider),
      h("span.painting.joined", {}, this.back, this.forth, button("Clear", "Clear the mask", () => this.clear())),
      h("label.button.painting", { title: "A picture of the same size: white is filled, black is kept" }, "Upload mask", upload), h("span.grow"),
      h("span.joined", {}, h("button", { title: "Smaller (-)", "aria-label": "Zoom out", onclick: () => this.zoom(1 / 1.4) }, "−"),
        h("button", { title: "Whole picture (0)", onclick: () => this.fit(true) }, "Fit"),
        h("button", { title: "Larger (+)", "aria-label": "Zoom in", onclick: () => this.zoom(1.4) }, "+")));
    queueMicrotask(() => (this.pick("brush"), this.resize(this.size), this.#state()));
    return bar;
  }

  #state() {
    this.back.disabled = !this.strokes.length;
    this.forth.disabled = !this.undone.length;
  }

  pick(tool) {
    this.tool = tool;
    this.brush.setAttribute("aria-pressed", String(tool === "brush"));
    this.eraser.setAttribute("aria-pressed", String(tool === "eraser"));
  }

  resize(size) {
    this.size = Math.min(LARGEST, Math.max(SMALLEST, size));
    this.slider.value = String((100 * Math.log(this.size / SMALLEST)) / Math.log(LARGEST / SMALLEST));
    this.draw();
  }

  // What is painted ------------------------------------------------------------------------------------------------

  #do(stroke) {
    this.strokes.push(stroke);
    this.undone = [];
    this.#paint(stroke);
    this.#done();
  }

  #done() {
    this.#state();
    this.draw();
    this.change();
  }

  #paint(stroke, from = 0) {
    const context = this.mask.getContext("2d");
    context.globalCompositeOperation = stroke.tool === "eraser" ? "destination-out" : "source-over";
    if (stroke.tool === "clear") return context.clearRect(0, 0, this.width, this.height);
    if (stroke.tool === "load") return context.drawImage(stroke.canvas, 0, 0);
    context.fillStyle = context.strokeStyle = COLOR;
    context.lineWidth = stroke.size + (stroke.tool === "eraser" ? 1.5 : 0); // with the soft edge of the same stroke
    context.lineCap = context.lineJoin = "round";
    const points = stroke.points.slice(Math.max(0, from - 1));
    context.beginPath();
    context.moveTo(...points[0]);
    if (points.length === 1) context.lineTo(points[0][0] + 0.01, points[0][1]);
    for (const point of points.slice(1)) context.lineTo(...point);
    context.stroke();
  }

  #repaint() {
    this.mask.getContext("2d").clearRect(0, 0, this.width, this.height);
    this.strokes.forEach((stroke) => this.#paint(stroke));
    this.#done();
  }

  undo() {
    if (!this.strokes.length) return;
    this.undone.push(this.strokes.pop());
    this.#repaint();
  }

  redo() {
    if (!this.undone.length) return;
    this.strokes.push(this.undone.pop());
    this.#repaint();
  }

  clear() {
    if (!this.empty) this.#do({ tool: "clear" });
  }

  /** A file as a mask; one of another size is refused, as the command refuses it. */
  async open(file) {
    const image = await createImageBitmap(file).catch(() => null);
    if (!image) throw new Error(`${file.name} is no picture that the browser can show. Send a PNG.`);
    if (image.width !== this.width || image.height !== this.height)
      throw new Error(`The mask ${file.name} is ${image.width} x ${image.height} but the picture is ${this.width} x ${this.height}. Make it that size.`);
    this.load(image);
  }

  /** A picture as a mask: white is filled. */
  load(image) {
    const canvas = h("canvas", { width: this.width, height: this.height });
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, this.width, this.height);
    const pixels = context.getImageData(0, 0, this.width, this.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const white = pixels.data[i] + pixels.data[i + 1] + pixels.data[i + 2] > 382 && pixels.data[i + 3] > 127;
      pixels.data.set([230, 0, 190, white ? 255 : 0], i);
    }
    context.putImageData(pixels, 0, 0);
    this.#do({ tool: "load", canvas });
  }

  /** The mask as a PNG: white is filled, black is kept. */
  blob() {
    const canvas = h("canvas", { width: this.width, height: this.height });
    const context = canvas.getContext("2d");
    const pixels = this.mask.getContext("2d").getImageData(0, 0, this.width, this.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const level = pixels.data[i + 3] > 127 ? 255 : 0;
      pixels.data.set([level, level, level, 255], i);
    }
    context.putImageData(pixels, 0, 0);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  // What is seen ---------------------------------------------------------------------------------------------------

  fit(again = false) {
    const { clientWidth, clientHeight } = this.frame;
    if (!clientWidth) return;
    const ratio = devicePixelRatio || 1;
    const resized = this.canvas.width !== Math.round(clientWidth * ratio) || this.canvas.height !== Math.round(clientHeight * ratio);
    if (resized) [this.canvas.width, this.canvas.height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (again || resized || !this.scale) {
      this.scale = Math.min(this.canvas.width / this.width, this.canvas.height / this.height, 24 * ratio);
      this.x = (this.canvas.width - this.scale * this.width) / 2;
      this.y = (this.canvas.height - this.scale * this.height) / 2;
    }
    this.draw();
  }

  zoom(by, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const scale = Math.min(64, Math.max(0.02, this.scale * by));
    [this.x, this.y] = [x - ((x - this.x) * scale) / this.scale, y - ((y - this.y) * scale) / this.scale];
    this.scale = scale;
    this.draw();
  }

  draw() {
    if (this.asked || !this.scale) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = null;
      this.#draw();
    });
  }

  #draw() {
    const { canvas, scale } = this, context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(scale, 0, 0, scale, this.x, this.y);
    context.imageSmoothingEnabled = scale < 2;
    context.drawImage(this.image, 0, 0, this.width, this.height);
    if (!this._paints) return;
    context.save();
    context.beginPath();
    context.rect(0, 0, this.width, this.height);
    context.clip();
    if (this._grow > 0 && !this.empty) {
      context.globalAlpha = 0.06;
      for (let k = 0; k < 16; k++) context.drawImage(this.mask, this._grow * Math.cos((k * Math.PI) / 8), this._grow * Math.sin((k * Math.PI) / 8));
    }
    context.restore();
    if (!this.empty) context.setTransform(1, 0, 0, 1, 0, 0), context.drawImage(this.#striped(), 0, 0), context.setTransform(scale, 0, 0, scale, this.x, this.y);
    if (this.cursor) {
      context.lineWidth = 1.5 / scale;
      for (const [color, more] of [["#000a", 0.75 / scale], ["#fff", -0.75 / scale]]) {
        context.strokeStyle = color;
        context.beginPath();
        context.arc(...this.cursor, Math.max(this.size / 2 + more, 0.1), 0, 2 * Math.PI);
        context.stroke();
      }
    }
  }

  /** The mask as it is seen: half transparent, with stripes that do not grow with the picture. */
  #striped() {
    const { width, height } = this.canvas;
    this.seen ??= h("canvas");
    Object.assign(this.seen, { width, height }); // this clears it, too
    const context = this.seen.getContext("2d");
    context.setTransform(this.scale, 0, 0, this.scale, this.x, this.y);
    context.imageSmoothingEnabled = false;
    context.beginPath();
    context.rect(0, 0, this.width, this.height);
    context.clip();
    context.drawImage(this.mask, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalCompositeOperation = "source-in";
    this.stripes ??= context.createPattern(stripes(), "repeat");
    context.fillStyle = this.stripes;
    context.fillRect(0, 0, width, height);
    return this.seen;
  }

  // What the hand does ---------------------------------------------------------------------------------------------

  #at(event) {
    const box = this.canvas.getBoundingClientRect(), ratio = this.canvas.width / box.width;
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  #inPicture([x, y]) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.#up(event));
    canvas.addEventListener("pointerleave", () => {
      this.cursor = null;
      this.draw();
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), ...this.#at(event));
    }, { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  #down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#at(event));
    if (this.pointers.size === 2) {
      if (this.stroke?.points.length < 12) { // it was the first finger of two
        this.stroke = null;
        this.#repaint();
      }
      return;
    }
    this.moves = !this._paints || event.button === 1 || event.button === 2;
    if (this.pointers.size > 1 || this.moves) return;
    this.stroke = { tool: this.tool, size: this.size, points: [this.#inPicture(this.#at(event))] };
    this.#paint(this.stroke);
    this.draw();
  }

  #move(event) {
    const at = this.#at(event), before = this.pointers.get(event.pointerId);
    if (event.pointerType !== "touch") this.cursor = this._paints ? this.#inPicture(at) : null;
    if (before && this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
      const middle = [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2], former = [(before[0] + other[0]) / 2, (before[1] + other[1]) / 2];
      this.x += middle[0] - former[0];
      this.y += middle[1] - former[1];
      this.zoom(apart(at, other) / Math.max(apart(before, other), 1), ...middle);
    } else if (before && this.moves) {
      this.x += at[0] - before[0];
      this.y += at[1] - before[1];
    } else if (before && this.stroke) {
      const from = this.stroke.points.length;
      for (const part of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) this.stroke.points.push(this.#inPicture(this.#at(part)));
      this.#paint(this.stroke, from);
    }
    if (before) this.pointers.set(event.pointerId, at);
    this.draw();
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
    if (!this.stroke || this.pointers.size) return;
    this.strokes.push(this.stroke);
    this.stroke = null;
    this.undone = [];
    this.#done();
  }

  /** A key that was pressed anywhere but in a field. */
  key(event) {
    if (event.target.closest("input, select, textarea")) return;
    const name = event.key.toLowerCase();
    const control = event.ctrlKey || event.metaKey;
    const keys = {
      "[": () => this.resize(this.size / 1.2), "]": () => this.resize(this.size * 1.2), b: () => this.pick("brush"), e: () => this.pick("eraser"),
      "+": () => this.zoom(1.4), "-": () => this.zoom(1 / 1.4), 0: () => this.fit(true),
    };
    if (control && name === "z") event.shiftKey ? this.redo() : this.undo();
    else if (control && name === "y") this.redo();
    else if (!control && keys[name]) keys[name]();
    else if (event.target === this.canvas && this.#brushByKey(event)) void 0;
    else return;
    event.preventDefault();
  }

  #brushByKey(event) {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!by && event.key !== " ") return false;
    this.cursor ??= [this.width / 2, this.height / 2];
    if (event.key === " ") this.#do({ tool: this.tool, size: this.size, points: [this.cursor] });
    else {
      const step = event.shiftKey ? 1 : Math.max(1, this.size / 3);
      this.cursor = [this.cursor[0] + by[0] * step, this.cursor[1] + by[1] * step];
    }
    this.draw();
    return true;
  }
}

/** Whether some of the picture is transparent: it is a hole then, without a mask. */
function hasHole(image) {
  const canvas = h("canvas", { width: Math.min(image.naturalWidth, 256), height: Math.min(image.naturalHeight, 256) });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 3; i < data.length; i += 4) if (data[i] < 250) return true;
  return false;
}

/** A tile of diagonal stripes. */
function stripes() {
  const size = 12, tile = h("canvas", { width: size, height: size });
  const context = tile.getContext("2d");
  context.fillStyle = "rgb(230 0 190 / 50%)";
  context.fillRect(0, 0, size, size);
  context.strokeStyle = "rgb(255 255 255 / 75%)";
  context.lineWidth = 2;
  for (const shift of [-size, 0, size]) {
    context.beginPath();
    context.moveTo(shift - 2, size + 2);
    context.lineTo(shift + size + 2, -2);
    context.stroke();
  }
  return tile;
}
