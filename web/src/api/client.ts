/** The typed client of /api/v1: paths, parameters and answers as docs/openapi.json has them.
 *
 * The one place where an answer becomes a value or a Problem.
 */
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

type Method = "get" | "post";
type With<M extends Method> = { [P in keyof paths]: paths[P][M] extends object ? P : never }[keyof paths];
type Answer<O> = O extends { responses: { 200: { content: { "application/json": infer T } } } } ? T : undefined;
type Path<O> = O extends { parameters: { path: infer T extends object } } ? { path: T } : { path?: never };
type Query<O> = O extends { parameters: { query?: infer T } } ? { query?: T } : { query?: never };
type Body<O> = O extends { requestBody: { content: { "application/json": infer T } } } ? { body: T } : { body?: never };

/** Throws Problem: the server refused, or could not be reached; AbortError: `signal` said stop. */
export function get<P extends With<"get">>(
  path: P,
  request: Path<paths[P]["get"]> & Query<paths[P]["get"]> & { signal?: AbortSignal },
): Promise<Answer<paths[P]["get"]>> {
  return send("GET", address(path, request.path ?? {}, request.query ?? {}), request.signal ?? null);
}

/** Throws Problem, as `get` does. */
export function post<P extends With<"post">>(
  path: P,
  request: Path<paths[P]["post"]> & Body<paths[P]["post"]>,
): Promise<Answer<paths[P]["post"]>> {
  return send("POST", address(path, request.path ?? {}, {}), null, request.body);
}

/** The path with its parameters filled in and those of the query that have a value; a list repeats its name. */
export function address(path: string, parts: object, query: object): string {
  const filled = Object.entries(parts).reduce(
    (text, [name, value]) => text.replace(`{${name}}`, encodeURIComponent(String(value))),
    path,
  );
  const pairs = Object.entries(query).flatMap(([name, value]: [string, unknown]) =>
    [value].flat().flatMap((one) => (one === null || one === undefined || one === "" ? [] : [[name, String(one)]])),
  );
  return pairs.length === 0 ? filled : `${filled}?${new URLSearchParams(pairs)}`;
}

async function send<T>(method: string, url: string, signal: AbortSignal | null, body?: unknown): Promise<T> {
  // The header is one that a form on another site cannot send.
  const headers = {
    "X-Requested-With": "dermafleet",
    ...(body !== undefined && { "Content-Type": "application/json" }),
  };
  const request = { method, headers, signal, ...(body !== undefined && { body: JSON.stringify(body) }) };
  let response;
  try {
    response = await fetch(url, request);
  } catch (cause) {
    if (cause instanceof DOMException) throw cause;
    throw new Problem(0, "The server cannot be reached", "Check the connection, then try again.");
  }
  const answer: unknown = response.status === 204 ? undefined : await response.json().catch(() => undefined);
  if (!response.ok) throw toProblem(response, answer);
  return answer as T; // the server's own description says so: docs/openapi.json is tested against it
}

function toProblem(response: Response, body: unknown): Problem {
  const field = (name: string): string | null => {
    const value = typeof body === "object" && body !== null ? (body as Record<string, unknown>)[name] : undefined;
    return typeof value === "string" ? value : null;
  };
  const title = field("title") ?? (response.statusText || `The server answered ${response.status}`);
  return new Problem(response.status, title, field("detail"), field("request_id"));
}
