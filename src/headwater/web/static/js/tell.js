// What is done with a promise that may be refused: the two sentences are shown.
import { toast } from "./dom.js";

export async function tell(promise) {
  try {
    return await promise;
  } catch (error) {
    toast(error.message, "bad");
    return undefined;
  }
}
