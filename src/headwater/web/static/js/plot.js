// The misfit against the evaluations, while a job runs.
import uPlot from "../vendor/uplot.js";
import { h } from "./dom.js";

export class Curve {
  constructor(goal = 1) {
    this.node = h("div.curve", { role: "img", "aria-label": "Misfit while the job runs" }, h("span.soft.small", {}, "misfit; 1 is the noise level"));
    this.goal = goal;
    this.plot = null;
    new ResizeObserver(() => this.plot && this.plot.setSize(this.#size())).observe(this.node);
  }

  #size() {
    return { width: Math.max(200, this.node.clientWidth), height: 150 };
  }

  draw(points) {
    if (points.length < 2 || !this.node.isConnected) return;
    const x = points.map((point) => point[0]), y = points.map((point) => Math.max(point[1], 1e-3));
    const data = [x, y, x.map(() => this.goal)];
    if (this.plot) {
      this.plot.setData(data);
      return;
    }
    const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: () => color("--soft"), grid: { stroke: () => color("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    this.plot = new uPlot({
      ...this.#size(), legend: { show: false }, cursor: { show: false },
      scales: { x: { time: false }, y: { distr: 3, log: 10 } },
      axes: [{ ...axis, size: 24 }, { ...axis, size: 44, values: (_, ticks) => ticks.map((t) => (t === null ? "" : String(+t.toPrecision(2)))) }],
      series: [{}, { stroke: () => color("--accent"), width: 2, points: { show: false } }, { stroke: () => color("--soft"), width: 1, dash: [4, 4], points: { show: false } }],
    }, data, this.node);
  }
}
