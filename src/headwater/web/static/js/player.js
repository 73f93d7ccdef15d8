// One recording: waveform, spectrogram, regions, loop. Two of them stand for before and after.
import WaveSurfer from "../vendor/wavesurfer.js";
import Regions from "../vendor/wavesurfer-regions.js";
import Spectrogram from "../vendor/wavesurfer-spectrogram.js";
import { h } from "./dom.js";

const LONGEST = 120; // seconds of which a spectrogram is drawn at once
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Player extends EventTarget {
  /** `urls` is {name: url}; the first is heard first. `marks`: whether dragging makes regions. */
  constructor(urls, { marks = false } = {}) {
    super();
    this.marks = marks;
    this.loop = false;
    this.selected = null;
    this.tracks = Object.entries(urls).map(([name, url]) => this.#track(name, url));
    this.active = this.tracks[0];
    this.play = h("button.primary", { onclick: () => this.toggle(), "aria-label": "Play or pause (space)" }, "Play");
    this.turn = this.tracks.length > 1 ? h("span.joined", {}, this.tracks.map((track) => h("button", { onclick: () => this.hear(track), title: "X changes between both" }, track.name))) : null;
    this.looper = h("button", { onclick: () => this.setLoop(!this.loop), title: "Repeat the region (L)" }, "Loop");
    this.time = h("span.soft.time", {}, "0:00.00");
    const zoom = h("input", { type: "range", min: "0", max: "100", value: "0", "aria-label": "Zoom", title: "Zoom", oninput: () => this.zoom(Number(zoom.value)) });
    this.bar = h("div.tools", { role: "toolbar", "aria-label": "Listen" }, this.play, this.turn, this.looper, h("span.size", {}, zoom), this.time, h("span.grow"));
    this.node = h("div.player", {}, this.bar, this.tracks.map((track) => track.node));
    this.hear(this.active);
    this.setLoop(false);
  }

  #track(name, url) {
    const place = h("div.wave");
    const regions = Regions.create();
    const surfer = WaveSurfer.create({
      container: place, url, height: 96, waveColor: color("--soft"), progressColor: color("--accent"), cursorColor: color("--ink"), cursorWidth: 1,
      barWidth: 0, cspNonce: document.getElementById("sheet").nonce, plugins: [regions], minPxPerSec: 0,
    });
    const track = { name, surfer, regions, node: h("figure.track", {}, this.caption(name), place) };
    surfer.on("ready", (seconds) => {
      this.seconds = seconds;
      if (seconds <= LONGEST && !track.spectrogram) track.spectrogram = surfer.registerPlugin(Spectrogram.create({ height: 128, labels: true, fftSamples: 1024, scale: "mel", gainDB: 20, rangeDB: 80, labelsColor: "#fff", labelsHzColor: "#fff", labelsBackground: "#0000" }));
      if (this.marks) regions.enableDragSelection({ color: "#ff3b1f55" });
      track.ready = true;
      if (this.wanted === track) this.toggle();
      if (this.tracks.every((other) => other.ready)) this.dispatchEvent(new Event("ready"));
    });
    surfer.on("error", (error) => this.dispatchEvent(new CustomEvent("broken", { detail: error })));
    surfer.on("timeupdate", (at) => {
      if (this.active !== track) return;
      this.time.textContent = `${Math.floor(at / 60)}:${(at % 60).toFixed(2).padStart(5, "0")}`;
      if (this.loop && this.selected && surfer.isPlaying() && (at >= this.selected.end || at < this.selected.start - 0.3)) surfer.setTime(this.selected.start);
    });
    surfer.on("play", () => (this.play.textContent = "Pause"));
    surfer.on("pause", () => this.active === track && (this.play.textContent = "Play"));
    surfer.on("interaction", () => this.active !== track && this.hear(track));
    regions.on("region-clicked", (region, event) => {
      event.stopPropagation();
      this.select(region);
      this.hear(track);
      track.surfer.setTime(Math.max(0, region.start - (this.loop ? 0 : 0.4)));
    });
    for (const name of ["region-created", "region-updated", "region-removed"]) regions.on(name, (region) => {
      if (name === "region-removed" && this.selected === region) this.selected = null;
      else if (this.marks && name === "region-created") this.select(region);
      this.dispatchEvent(new Event("regions"));
    });
    return track;
  }

  caption(name) {
    return this.tracks || name ? h("figcaption.soft.small", {}, name) : null;
  }

  select(region) {
    this.selected = region;
    for (const track of this.tracks) for (const other of track.regions.getRegions()) other.setOptions({ color: other === region || (other.start === region?.start && other.end === region?.end) ? "#ff3b1f77" : "#ff3b1f40" });
  }

  toggle() {
    const { surfer, ready } = this.active;
    this.wanted = ready ? null : this.active; // a click while it is loaded is not lost
    if (!ready) return;
    if (!surfer.isPlaying() && this.loop && this.selected) surfer.setTime(this.selected.start);
    surfer.playPause();
  }

  /** Listen to another track, from the same place. */
  hear(track) {
    const from = this.active.surfer, playing = from.isPlaying?.() ?? false;
    if (track !== this.active) {
      from.pause();
      track.surfer.setTime(from.getCurrentTime());
      this.active = track;
      if (playing) track.surfer.play();
    }
    this.turn?.childNodes.forEach((button, i) => button.setAttribute("aria-pressed", String(this.tracks[i] === track)));
    this.tracks.forEach((other) => other.node.classList.toggle("heard", other === track && this.tracks.length > 1));
  }

  setLoop(loop) {
    this.loop = loop;
    this.looper.setAttribute("aria-pressed", String(loop));
  }

  /** 0 shows all, 100 some milliseconds. */
  zoom(value) {
    const whole = this.tracks[0].node.clientWidth / Math.max(this.seconds ?? 1, 1e-3);
    for (const track of this.tracks) if (track.surfer.getDuration()) track.surfer.zoom(value === 0 ? 0 : whole * (8000 / whole) ** (value / 100));
  }

  get regions() {
    return this.tracks[0].regions.getRegions().map(({ start, end }) => [start, end]).sort((a, b) => a[0] - b[0]);
  }

  mark(start, end, text = "") {
    for (const track of this.tracks) track.regions.addRegion({ start, end: Math.max(end, start + 1e-4), color: "#ff3b1f40", content: text || undefined, drag: this.marks, resize: this.marks });
  }

  clear() {
    for (const track of this.tracks) track.regions.clearRegions();
    this.dispatchEvent(new Event("regions"));
  }

  remove() {
    if (this.marks) this.selected?.remove();
  }

  key(event) {
    if (event.target.closest("input, select, textarea, button")) return;
    const keys = { " ": () => this.toggle(), x: () => this.hear(this.tracks[(this.tracks.indexOf(this.active) + 1) % this.tracks.length]), l: () => this.setLoop(!this.loop), Delete: () => this.remove(), Backspace: () => this.remove() };
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    keys[event.key]();
    event.preventDefault();
  }

  destroy() {
    this.tracks.forEach((track) => track.surfer.destroy());
  }

  /** Another recording in the place of the first, once this one is not heard. */
  replace(url) {
    const { surfer } = this.tracks[0];
    const load = () => {
      this.tracks[0].ready = false;
      surfer.load(url).catch(() => null); // a next one may come before this one is there
    };
    if (!surfer.isPlaying()) return void load();
    this.next?.();
    this.next = surfer.once("pause", () => (this.next = null, load()));
  }
}
