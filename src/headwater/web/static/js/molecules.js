import { Bench } from "./bench.js";
import { h, fill } from "./dom.js";

export class Molecules extends Bench {
  constructor(page, domain) {
    super(page, domain, "molecule");
  }

  draw() {
    if (this.stage) fill(this.stage, this.command.own ? this.drop : h("div.drop"));
  }

  result() {
    return null;
  }
}
