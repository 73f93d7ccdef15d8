import { Bench } from "./bench.js";
import { h, fill } from "./dom.js";

export class Recordings extends Bench {
  constructor(page, domain) {
    super(page, domain, "recording");
  }

  draw() {
    if (this.stage) fill(this.stage, this.command.own ? this.drop : h("div.drop"));
  }

  result() {
    return null;
  }
}
