/** The typed client of /api/v1. One place turns an answer into a value or into a Problem. */
import createClient from "openapi-fetch";
import type { paths } from "./schema";

/** What went wrong, as RFC 9457 puts it; status 0 means that the server could not be reached. */
export class Problem extends Error {
  readonly status: number;
  readonly detail: string | null;
  readonly requestId: string | null;

  constructor(status: number, title: string, detail: string | null = null, requestId: string | null = null) {
    super(title);
    this.status = status;
    this.detail = detail;
    this.requestId = requestId;
  }
}

/** Every unsafe request carries it: a form on another site cannot. */
export const headers = { "X-Requested-With": "dermafleet" };

export const api = createClient<paths>({ baseUrl: "", headers, credentials: "same-origin" });

/** The data of an answer.
 *
 * Throws Problem: the server refused, or could not be reached.
 */
export async function ask<T>(request: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  let answer;
  try {
    answer = await request;
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new Problem(0, "The server cannot be reached", "The page tries again by itself.");
  }
  if (answer.response.ok) return answer.data as T;
  throw toProblem(answer.response, answer.error);
}

export function toProblem(response: Response, body: unknown): Problem {
  const field = (name: string): string | null => {
    const value = typeof body === "object" && body !== null ? (body as Record<string, unknown>)[name] : undefined;
    return typeof value === "string" ? value : null;
  };
  const title = field("title") ?? (response.statusText || `The server answered ${response.status}`);
  return new Problem(response.status, title, field("detail"), field("request_id"));
}
