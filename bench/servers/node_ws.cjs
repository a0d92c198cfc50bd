// The source document's own design: a Map of sockets by user, `JSON.stringify` and `send` to each.
// The one difference is a Set for each user, because the second tab must not take the first one's events;
// and its console.log of each event is left out, which would only slow it.
"use strict";
const WebSocket = require("ws");
const { serve } = require("./offer.cjs");

const wss = new WebSocket.Server({ port: 0, host: "127.0.0.1", backlog: 4096, path: "/ws/progress" });
const activeConnections = new Map();

wss.on("connection", (ws, req) => {
  const userId = new URL(req.url, "ws://localhost").searchParams.get("userId");
  if (!activeConnections.has(userId)) activeConnections.set(userId, new Set());
  activeConnections.get(userId).add(ws);
  ws.on("message", () => {});
  ws.on("error", () => {});
  ws.on("close", () => activeConnections.get(userId).delete(ws));
});

function updateStep(userId, operationId, stepId, status, message, progress) {
  const update = {
    operation_id: operationId,
    step: stepId,
    status,
    message,
    progress,
    timestamp: new Date().toISOString(),
  };
  const text = JSON.stringify(update);
  for (const ws of activeConnections.get(String(userId)) ?? []) {
    if (ws.readyState === WebSocket.OPEN) ws.send(text);
  }
}

wss.on("listening", () =>
  serve({ port: wss.address().port, versions: { ws: require("ws/package.json").version } }, (event) =>
    updateStep(event.userId, event.operationId, event.step, "in_progress", event.message, event.progress),
  ),
);
