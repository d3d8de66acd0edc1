/** One answer of the API with its states: loading, there, failed. Data stays on the page while it is loaded again. */
import { account } from "../account.svelte";
import { Problem } from "./client";

export class Resource<T> {
  data = $state.raw<T | null>(null);
  problem = $state.raw<Problem | null>(null);
  isLoading = $state(false);
  #abort: AbortController | null = null;

  /** Load; a newer call makes an older one irrelevant. With `keep` false the old data leaves the page at once. */
  async load(request: (signal: AbortSignal) => Promise<T>, { keep = true } = {}): Promise<void> {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    if (!keep) this.data = null;
    this.isLoading = true;
    try {
      const data = await request(abort.signal);
      if (abort.signal.aborted) return;
      this.data = data;
      this.problem = null;
    } catch (error) {
      if (abort.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) account.expire();
      this.problem = error;
    } finally {
      if (this.#abort === abort) this.isLoading = false;
    }
  }

  stop(): void {
    this.#abort?.abort();
  }
}
