// better-sse as its documentation has it: a channel for each user, sessions registered in it.
"use strict";
const http = require("node:http");
const { createChannel, createSession } = require("better-sse");
const { serve } = require("./offer.cjs");

const channels = new Map();

function channelOf(userId) {
  if (!channels.has(userId)) channels.set(userId, createChannel());
  return channels.get(userId);
}

const server = http.createServer(async (req, res) => {
  const userId = new URL(req.url, "http://localhost").searchParams.get("userId");
  const session = await createSession(req, res, { keepAlive: 15000 });
  channelOf(userId).register(session);
});

server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () =>
  serve({ port: server.address().port, versions: { "better-sse": version() } }, (event) =>
    channelOf(String(event.userId)).broadcast({
      operation_id: event.operationId,
      step: event.step,
      status: "in_progress",
      message: event.message,
      progress: event.progress,
      timestamp: new Date().toISOString(),
    }),
  ),
);

function version() {
  const path = require("node:path");
  const folder = path.dirname(path.dirname(require.resolve("better-sse")));
  return JSON.parse(require("node:fs").readFileSync(path.join(folder, "package.json"))).version;
}
