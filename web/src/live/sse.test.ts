import { expect, test } from "vitest";
import { MessageParser } from "./sse";

test("a message split over two pieces arrives once, whole", () => {
  const parser = new MessageParser();
  expect(parser.push('id: 7-1\nevent: alarm\ndata: {"a"')).toEqual([]);
  expect(parser.push(":1}\n\n")).toEqual([{ id: "7-1", event: "alarm", data: '{"a":1}' }]);
});

test("comments and retry fields are no messages", () => {
  expect(new MessageParser().push(": keep-alive\n\nretry: 2000\n\n")).toEqual([]);
});

test("an id without data still moves the resume token", () => {
  expect(new MessageParser().push("retry: 2000\nid: 7-9\n\n")).toEqual([{ id: "7-9", event: "message", data: "" }]);
});

test("carriage returns end lines too, even when a piece ends between the two", () => {
  const parser = new MessageParser();
  expect(parser.push("data: 1\r\n\r")).toEqual([]);
  expect(parser.push("\ndata: 2\r\n\r\n").map(({ data }) => data)).toEqual(["1", "2"]);
});

test("several data lines are one text", () => {
  expect(new MessageParser().push("data: a\ndata: b\n\n")[0]?.data).toBe("a\nb");
});
