/** Who is signed in. Signing out, or a session that ended, leads to the login page and back. */
import { get, post, Problem } from "./api/client";
import type { Me } from "./api/types";
import { navigate, route } from "./router.svelte";

type State = { is: "unknown" } | { is: "out" } | { is: "in"; me: Me } | { is: "unreachable"; problem: Problem };

let state = $state.raw<State>({ is: "unknown" });

export const account = {
  get state(): State {
    return state;
  },

  async find(): Promise<void> {
    try {
      state = { is: "in", me: await get("/api/v1/me", {}) };
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) this.expire();
      else state = { is: "unreachable", problem: error };
    }
  },

  /** Throws Problem: wrong e-mail or password, or no server. */
  async signIn(email: string, password: string): Promise<void> {
    const back = route.query.get("return");
    state = { is: "in", me: await post("/api/v1/login", { body: { email, password } }) };
    navigate(back !== null && /^\/(?![/\\])/.test(back) ? back : "/devices", { replace: true });
  },

  async signOut(): Promise<void> {
    try {
      await post("/api/v1/logout", {});
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status !== 401) {
        state = { is: "unreachable", problem: error };
        return;
      }
    }
    state = { is: "out" };
    navigate("/login");
  },

  expire(): void {
    state = { is: "out" };
    if (route.path === "/login") return;
    const here = window.location.pathname + window.location.search;
    navigate(here === "/" ? "/login" : `/login?return=${encodeURIComponent(here)}`, { replace: true });
  },
};
