/** Reads a server-sent event stream over fetch: unlike EventSource it sees keep-alive comments, status codes and headers. */

/** A message; `data` is empty when it only moves the resume token. */
export interface Message {
  id: string | null;
  event: string;
  data: string;
}

/** Splits a stream's text into messages. Pure but for the rest it keeps between pieces. */
export class MessageParser {
  #rest = "";

  push(piece: string): Message[] {
    const text = (this.#rest + piece).replaceAll("\r\n", "\n");
    const blocks = text.split("\n\n");
    this.#rest = blocks.pop() ?? "";
    return blocks.map(parseBlock).filter((message) => message !== null);
  }
}

function parseBlock(block: string): Message | null {
  const message: Message = { id: null, event: "message", data: "" };
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0) continue;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "id") message.id = value;
    else if (field === "event") message.event = value;
  }
  if (data.length === 0 && message.id === null) return null;
  message.data = data.join("\n");
  return message;
}

/** Yields the messages of each piece received; an empty list is a sign of life. Ends when the server closes. */
export async function* readMessages(body: ReadableStream<Uint8Array>): AsyncGenerator<Message[]> {
  const parser = new MessageParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.releaseLock();
  }
}
