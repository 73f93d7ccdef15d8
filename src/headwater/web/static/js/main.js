// The page: three benches, one queue, and where the address says we are (#image, #job-ID).
import { h, fill, byId } from "./dom.js";
import { Jobs, onToken, request } from "./api.js";
import { QueueView } from "./queue.js";
import { JobView } from "./job.js";
import { Pictures } from "./pictures.js";
import { Recordings } from "./recordings.js";
import { Molecules } from "./molecules.js";

const DOMAINS = { image: ["Pictures", Pictures], audio: ["Recordings", Recordings], molecule: ["Molecules", Molecules] };

/** Ask for the token until it is the right one. */
async function login() {
  const send = (token) => fetch("/api/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });
  return new Promise((done) => {
    const input = h("input", { type: "password", autocomplete: "current-password", "aria-label": "Token" });
    const word = h("p.help");
    const dialog = h("dialog.login", {}, h("form", { onsubmit: async (event) => {
      event.preventDefault();
      const answer = await send(input.value);
      if (!answer.ok) return fill(word, (await answer.json()).what);
      dialog.remove();
      done(true);
    } }, h("h2", {}, "Token"), h("p", {}, "The one that 'headwater serve' was started with."), input, word, h("button.primary", {}, "Open")));
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
  });
}

function themes() {
  const root = document.documentElement;
  const kept = localStorage.getItem("theme");
  if (kept) root.dataset.theme = kept;
  byId("theme").onclick = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  };
}

class Page {
  async start() {
    themes();
    for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault()); // a file that is dropped beside a bench replaces no page
    onToken(login);
    this.offer = await request("GET", "/api/page");
    this.jobs = new Jobs();
    this.benches = {};
    this.tabs = Object.fromEntries(Object.entries(DOMAINS).map(([domain, [name]]) => [domain,
      h("button", { role: "tab", onclick: () => (location.hash = domain) }, name)]));
    fill(byId("tabs"), Object.values(this.tabs));
    byId("tabs").onkeydown = (event) => this.#step(event);
    this.queue = new QueueView(this.jobs, (id) => (location.hash = `job-${id}`));
    this.view = null;
    addEventListener("hashchange", () => this.show());
    let first = true;
    this.jobs.addEventListener("change", ({ detail }) => {
      if (detail.what === "state" && first) {
        first = false;
        this.show();
      } else if (detail.what === "state" && this.view) this.view.update();
      if (detail.what === "removed" && this.view?.id === detail.id) location.hash = this.domain;
      else if (this.view?.id === detail.id && ["job", "progress"].includes(detail.what)) this.view.update(detail.what);
    });
    this.jobs.open();
  }

  bench(domain) {
    this.benches[domain] ??= new DOMAINS[domain][1](this, domain);
    return this.benches[domain];
  }

  show() {
    const where = location.hash.slice(1);
    const job = where.startsWith("job-") ? this.jobs.all.get(where.slice(4)) : null;
    this.view?.leave();
    this.view = null;
    this.domain = job ? job.command.split(" ")[0] : (where in DOMAINS ? where : "image");
    for (const [domain, tab] of Object.entries(this.tabs)) {
      tab.setAttribute("aria-selected", String(domain === this.domain));
      tab.tabIndex = domain === this.domain ? 0 : -1;
    }
    for (const bench of Object.values(this.benches)) bench.leave?.();
    const bench = this.bench(this.domain);
    document.body.dataset.view = job ? "job" : "bench";
    if (job) {
      this.view = new JobView(this, job.id, bench);
      fill(byId("stage"), this.view.node);
      fill(byId("panel"), this.view.panel);
      this.view.update();
    } else {
      fill(byId("stage"), bench.stage);
      fill(byId("panel"), bench.panel);
      bench.enter?.();
    }
    this.queue.mark(job?.id);
  }

  #step(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const domains = Object.keys(DOMAINS);
    const next = domains[(domains.indexOf(this.domain) + by + domains.length) % domains.length];
    location.hash = next;
    this.tabs[next].focus();
  }
}

export const page = new Page();
page.start();
