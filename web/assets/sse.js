// Server-sent events read through fetch, since EventSource cannot send a token.

import { request } from "./api.js";

/** No event is near this; a stream without line feeds must not fill memory. */
const LINE_CHARS_MAX = 1_000_000;

/** Calls `onevent(data)` for each event until the stream ends or `signal` fires. */
export async function events(path, { signal, onevent }) {
  const response = await request(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    if (rest.length > LINE_CHARS_MAX) throw new Error("a line of the event stream is too long");
    for (const line of lines) {
      if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
      else if (line === "" && data.length > 0) {
        onevent(data.join("\n"));
        data = [];
      }
    }
  }
}
