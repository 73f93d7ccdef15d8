// Where several pictures differ: the standard deviation of each pixel.
import { h } from "./dom.js";

const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis

/** A canvas and a caption. */
export async function spread(urls) {
  const images = await Promise.all(urls.map(async (url) => createImageBitmap(await (await fetch(url)).blob())));
  const { width, height } = images[0], canvas = h("canvas.live", { width, height, role: "img", "aria-label": "Standard deviation of the variants" });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const sum = new Float32Array(width * height), squares = new Float32Array(width * height);
  for (const image of images) {
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    for (let i = 0; i < sum.length; i++) {
      const grey = (data[4 * i] + data[4 * i + 1] + data[4 * i + 2]) / 3;
      sum[i] += grey;
      squares[i] += grey * grey;
    }
  }
  const n = images.length, std = sum.map((s, i) => Math.sqrt(Math.max(0, squares[i] / n - (s / n) ** 2) * (n / (n - 1))));
  const top = std.reduce((a, b) => Math.max(a, b), 1e-6), out = context.createImageData(width, height);
  std.forEach((value, i) => {
    const place = (value / top) * (STOPS.length - 1), k = Math.min(Math.floor(place), STOPS.length - 2);
    for (let c = 0; c < 3; c++) out.data[4 * i + c] = STOPS[k][c] + (place - k) * (STOPS[k + 1][c] - STOPS[k][c]);
    out.data[4 * i + 3] = 255;
  });
  context.putImageData(out, 0, 0);
  return [canvas, h("figcaption", {}, `Standard deviation of ${n} variants, grey levels: dark 0, yellow ${top.toFixed(0)}.`)];
}
